import type { Finding } from '../backend/finding.ts'
import { LabelsUnreadableError } from '../errors.ts'
import { checkNumber, MAX_TTL_MS, type OptionTable } from '../option.ts'
import type { Declassification } from './declassification.ts'
import { distinctLabels, isLabel, type LabelHolder } from './label.ts'

/** What a load answers. */
export interface LoadedLabels {
  /**
   * `stored`: there is a set. `empty`: there confirmedly is none, and none is remembered. `lost`: there is none,
   * though labels are remembered; what else was in it nobody knows, so refuse what any label would refuse.
   */
  readonly state: 'stored' | 'empty' | 'lost'
  /** The stored labels and the remembered ones that were not declassified. */
  readonly labels: ReadonlySet<string>
  /** Labels that were declassified and have not been added since. */
  readonly declassified?: ReadonlySet<string> | undefined
}

export interface LoadTerms {
  /** The set must live at least this much longer, in ms; it is never shortened. The sets of subjects do not expire. @defaultValue the `ttl` of the store */
  readonly atLeastMs?: number | undefined
  /** Labels the holder is known to have had. Those that are missing from a stored set are put back into it. @defaultValue none */
  readonly remembered?: readonly string[] | undefined
}

export interface AddTerms {
  /** The set must live at least this much longer, in ms; it is never shortened. The sets of subjects do not expire. @defaultValue the `ttl` of the store */
  readonly atLeastMs?: number | undefined
  /** Labels that stay declassified: for a holder that takes the place of another, in which they were. @defaultValue none */
  readonly declassified?: readonly string[] | undefined
}

/**
 * Keeps one growing set of labels for each session or subject. Made by `createLabelStore`; a host's own kinds
 * keep the same promises:
 *
 * - A load answers what every add acknowledged before it has added, on whatever node; it is never served by a cache
 *   or a replica.
 * - Failure is never absence: unreachable, late, undecodable and partial answers reject.
 * - Only `declassify` takes a label away.
 */
export interface LabelStore {
  /** The labels of a session, by its id, or of a subject. */
  load(holder: string | LabelHolder, terms?: LoadTerms): Promise<LoadedLabels>
  /**
   * Adds labels and answers the whole set after it; `undefined`, without asking anybody, if there are none to add.
   * Repeating it is harmless. Rejects with `OutcomeUnknownError` if they may have been added.
   */
  add(
    holder: string | LabelHolder,
    labels: readonly string[],
    terms?: AddTerms,
  ): Promise<ReadonlySet<string> | undefined>
  /** Takes labels away, and remembers that, so that no session puts them back. Answers the labels that are left. */
  declassify(declassification: Declassification): Promise<ReadonlySet<string>>
  /**
   * Returns whether labels could vanish, by how the server evicts and by `ttl`. Raises an alarm for each finding but
   * `unreachable`. `check()` of the session store calls it once {@link taintLabels} connects the two. Rejects only once the
   * store is closed.
   */
  check(): Promise<readonly Finding[]>
  /** Lets calls in flight settle and refuses later ones. A client that was handed in stays open. */
  close(): Promise<void>
}

const atLeastMs = (value: number | undefined, name: string) =>
  value === undefined ? undefined : checkNumber(name, value, { min: 0, max: MAX_TTL_MS })

export const LOAD_TERMS = {
  atLeastMs,
  remembered: (value = []) => distinctLabels(value),
} satisfies OptionTable<LoadTerms>

export const ADD_TERMS = {
  atLeastMs,
  declassified: (value = []) => distinctLabels(value),
} satisfies OptionTable<AddTerms>

const STATES: readonly unknown[] = ['stored', 'empty', 'lost']

// A host's own kind of label store may answer anything; what cannot be understood must not count as no labels.
export function checkedAnswer(
  answer: unknown,
): Required<LoadedLabels> & { declassified: ReadonlySet<string> } {
  const { state, labels, declassified = new Set() } = Object(answer) as Partial<LoadedLabels>
  if (state === undefined || !STATES.includes(state) || !isLabelSet(labels) || !isLabelSet(declassified))
    throw new LabelsUnreadableError()
  return { state, labels, declassified }
}

export function isLabelSet(value: unknown): value is ReadonlySet<string> {
  return value instanceof Set && [...value].every(isLabel)
}
