import { describe } from 'vitest'
import { describeEnd } from './contract/end.ts'
import { describeGet } from './contract/get.ts'
import { describeNotices } from './contract/notices.ts'
import { describePut } from './contract/put.ts'
import type { CreateSubject } from './contract/subject.ts'
import { describeTouch } from './contract/touch.ts'
import { describeWhole } from './contract/whole.ts'

/** What every backend must do. `create` makes one that is empty. */
export function backendContract(name: string, create: CreateSubject): void {
  describe(`the backend contract, ${name}`, () => {
    describeGet(create)
    describePut(create)
    describeTouch(create)
    describeEnd(create)
    describeNotices(create)
    describeWhole(create)
  })
}
