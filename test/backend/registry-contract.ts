import { describe } from 'vitest'
import { describeCap } from './registry/cap.ts'
import { describeEnroll } from './registry/enroll.ts'
import { describeExtend } from './registry/extend.ts'
import { describePages } from './registry/pages.ts'
import { describeRaise } from './registry/raise.ts'
import { describeRandom } from './registry/random.ts'
import type { CreateRegistrySubject } from './registry/subject.ts'
import { describeWithdraw } from './registry/withdraw.ts'

/** What every registry must do. `create` makes one that is empty. */
export function registryContract(name: string, create: CreateRegistrySubject): void {
  describe(`the registry contract, ${name}`, () => {
    describeEnroll(create)
    describeCap(create)
    describeExtend(create)
    describeWithdraw(create)
    describePages(create)
    describeRaise(create)
    describeRandom(create)
  })
}
