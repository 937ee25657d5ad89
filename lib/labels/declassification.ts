import { type Actor, checkActor, checkKnown, checkObject, optionError } from '../option.ts'
import { distinctLabels, type LabelHolder } from './label.ts'

/** Labels to remove from a session or a subject, by whom and why. */
export type Declassification = LabelHolder & {
  readonly labels: readonly string[]
  readonly actor: Actor
  /** 1 to 500 printable characters, for the audit. */
  readonly reason: string
}

/** One entry for the audit log. A declassification makes two: `intended`, then its outcome. */
export interface LabelAudit {
  readonly at: Date
  /** `unknown`: the reply was lost, so it may have happened. */
  readonly outcome: 'intended' | 'done' | 'failed' | 'unknown'
  /** SHA-256 of the holder's id, hex. */
  readonly holder: string
  readonly holderKind: 'session' | 'subject'
  readonly labels: readonly string[]
  readonly actor: Actor
  readonly reason: string
}

// No control characters, line separators or lone surrogates: the reason is logged.
const REASON = /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]{1,500}$/u

/** Returns the checked parts. Throws a `TypeError` that names what is wrong. */
export function checkDeclassification(
  declassification: Declassification,
): Pick<Declassification, 'labels' | 'actor' | 'reason'> {
  checkObject('declassification', declassification)
  checkKnown(declassification, ['sid', 'subject', 'labels', 'actor', 'reason'], 'declassify')
  const { actor, reason } = declassification
  const labels = distinctLabels(declassification.labels)
  if (labels.length === 0) throw optionError('labels', 'at least one label')
  if ('sid' in declassification === 'subject' in declassification)
    throw optionError('sid', 'given, or "subject" instead')
  const checked = checkActor(actor)
  if (typeof reason !== 'string' || !REASON.test(reason))
    throw optionError('reason', '1 to 500 printable characters')
  return { labels, actor: checked, reason }
}
