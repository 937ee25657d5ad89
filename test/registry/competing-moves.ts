import type { Action, WorkloadOptions } from './workload.ts'

type Script = readonly Action[]

/**
 * Lets only one client change whose session it is: each of the first two clients that of one of the two sessions. Two who
 * sign one user in to and out of one session at the same time can lose it its place in the registry; the session is then
 * ended at its next touch, as foreign-place.test.ts shows. With `overwrite` every save of an older copy signs its user in.
 */
export function withoutCompetingMoves(
  scripts: readonly Script[],
  { concurrency }: Pick<WorkloadOptions, 'concurrency'>,
): readonly Script[] {
  const permitted = scripts.map((script, at) =>
    script.map((action) => (isMove(action) && action.which !== at ? save(action) : action)),
  )
  if (concurrency !== 'overwrite') return permitted
  const movers = permitted.map((script) => script.filter(isMove).map(({ which }) => which))
  const isForeign = ({ which }: Action, at: number) =>
    movers.some((moved, mover) => mover !== at && moved.includes(which))
  return permitted.map((script, at) =>
    script.map((action) => (action.name === 'save' && isForeign(action, at) ? touch(action) : action)),
  )
}

function isMove({ name }: Action): boolean {
  return name === 'switch user' || name === 'sign out in place'
}

const save = ({ which }: Action): Action => ({ name: 'save', which })
const touch = ({ which }: Action): Action => ({ name: 'touch', which })
