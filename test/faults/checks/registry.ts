import type { User } from '../subject.ts'
import { type Evidence, isTainted, type Violation } from './evidence.ts'

/** At the end each user's list shows exactly the living; and never did more live than may. */
export function checkRegistry(evidence: Evidence & { readonly isTorn: boolean }): Violation[] {
  const { users } = evidence.workload
  return users.flatMap((user, index) => {
    const isLossy = user.subjects.some((subject) => isTainted(evidence, subject))
    return [
      ...(isLossy && evidence.isTorn ? [] : checkList(evidence, user, index)),
      ...(isLossy ? [] : checkCap(evidence, user, index)),
    ]
  })
}

function checkList({ workload, inventory, cap }: Evidence, user: User, index: number): Violation[] {
  const listed = new Set(inventory.lists.get(user)?.map((handle) => workload.subjectOf(handle)))
  const living = new Set(user.subjects.filter((subject) => inventory.contents.has(subject)))
  const missing = [...living].filter((subject) => !listed.has(subject)).length
  const dead = [...listed].filter((subject) => subject === undefined || !living.has(subject)).length
  const violations: Violation[] = []
  if (missing > 0)
    violations.push({
      check: 'not in the registry',
      detail: `user ${index}: ${missing} of ${living.size} living`,
    })
  if (dead > 0)
    violations.push({
      check: 'dead in the registry',
      detail: `user ${index}: ${dead} of ${listed.size} listed`,
    })
  if (living.size > cap)
    violations.push({
      check: 'more sessions than allowed',
      detail: `user ${index}: ${living.size} at the end`,
    })
  return violations
}

/** A session that stood at one time and was read at another lived all the time between. */
function checkCap({ cap }: Evidence, user: User, index: number): Violation[] {
  const lives = user.subjects.filter(({ storedMs, seenMs }) => seenMs > storedMs)
  const edges = lives.flatMap(({ storedMs, seenMs }) => [
    { atMs: storedMs, change: 1 },
    { atMs: seenMs, change: -1 },
  ])
  edges.sort((a, b) => a.atMs - b.atMs || a.change - b.change)
  let [living, most] = [0, 0]
  for (const { change } of edges) {
    living += change
    most = Math.max(most, living)
  }
  return most > cap
    ? [{ check: 'more sessions than allowed', detail: `user ${index}: ${most} at one instant` }]
    : []
}
