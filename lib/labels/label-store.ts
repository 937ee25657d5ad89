import type { Finding } from '../backend/finding.ts'
import { LabelsUnreadableError } from '../errors.ts'
import { checkNumber, MAX_TTL_MS, type OptionTable } from '../option.ts'
import type { Declassification } from './declassification.ts'
import { distinctLabels, isLabel, type LabelHolder } from './label.ts'

/** The result of a load. */
export interface LoadedLabels {
  /**
   * `stored`: the set exists. `empty`: it does not exist, and no labels are remembered. `lost`: it does not exist although labels
   * are remembered; its other labels are unknown, so deny whatever any label would deny.
   */
  readonly state: 'stored' | 'empty' | 'lost'
  /** The stored labels, and the remembered ones that were not declassified. */
  readonly labels: ReadonlySet<string>
  /** Labels that were declassified and have not been added since. */
  readonly declassified?: ReadonlySet<string> | undefined
}

export interface LoadTerms {
  /** The shortest remaining lifetime of the set, in ms; it is never shortened. The sets of subjects do not expire. @defaultValue the `ttl` of the store */
  readonly atLeastMs?: number | undefined
  /** Labels that the holder is known to have. Those missing from the stored set are put back. @defaultValue none */
  readonly remembered?: readonly string[] | undefined
}

export interface AddTerms {
  /** The shortest remaining lifetime of the set, in ms; it is never shortened. The sets of subjects do not expire. @defaultValue the `ttl` of the store */
  readonly atLeastMs?: number | undefined
  /** Labels to mark as declassified, as they are with the holder that this one replaces. @defaultValue none */
  readonly declassified?: readonly string[] | undefined
}

/**
 * Keeps one growing set of labels for each session or subject. `createLabelStore` makes one; an implementation of your own
 * must keep the same promises:
 *
 * - A load returns every label whose add was acknowledged before, on any node; no cache or replica serves it.
 * - Failure is never absence: a call rejects if the reply is missing, late, unreadable or incomplete.
 * - Only `declassify` removes a label.
 */
export interface LabelStore {
  /**
   * Returns the labels of a session, by its id, or of a subject.
   *
   * @throws TypeError if the holder or an option is wrong.
   * @throws LabelsUnreadableError if something else is stored in place of the set.
   */
  load(holder: string | LabelHolder, terms?: LoadTerms): Promise<LoadedLabels>
  /**
   * Adds labels and returns the whole set; with no labels to add, returns `undefined` and sends nothing. Safe to repeat.
   *
   * @throws TypeError if a label, the holder or an option is wrong.
   * @throws LabelLimitError if there would be more than 64.
   * @throws OutcomeUnknownError if they may have been added.
   */
  add(
    holder: string | LabelHolder,
    labels: readonly string[],
    terms?: AddTerms,
  ): Promise<ReadonlySet<string> | undefined>
  /**
   * Removes labels, and marks them as declassified so that no session puts them back. Returns the remaining labels.
   *
   * @throws TypeError if the declassification is wrong, or the option `onAudit` is not set.
   * @throws OutcomeUnknownError if they may have been removed.
   */
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

// An app's own label store may return anything; a result that is not understood must not count as "no labels".
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
