import { describe } from 'vitest'
import { describeEnd } from './contract/end.ts'
import { describeGet } from './contract/get.ts'
import { describeLookout } from './contract/lookout.ts'
import { describeNotices } from './contract/notices.ts'
import { describePut } from './contract/put.ts'
import type { CreateSubject } from './contract/subject.ts'
import { describeTouch } from './contract/touch.ts'
import { describeWhole } from './contract/whole.ts'

export interface ContractTerms {
  /** Between servers notices may be lost, so what each of them tells can be said of a backend on one server only. @defaultValue false */
  readonly losesNotices?: boolean
}

/** What every backend must do. `create` makes one that is empty. */
export function backendContract(name: string, create: CreateSubject, terms: ContractTerms = {}): void {
  describe(`the backend contract, ${name}`, () => {
    describeGet(create)
    describePut(create)
    describeTouch(create)
    describeEnd(create)
    if (!terms.losesNotices) describeNotices(create)
    describeLookout(create)
    describeWhole(create)
  })
}
