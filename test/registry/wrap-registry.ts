import type { Backend } from '../../lib/backend/backend.ts'
import type { Registry } from '../../lib/backend/registry.ts'
import { wrapBackend } from '../store/wrap-backend.ts'

/** A backend with some verbs of its registry replaced; everything else is the real one's. */
export function wrapRegistry(inner: Backend, verbs: Partial<Registry>): Backend {
  const registry = new Proxy(inner.registry, {
    get(target, name) {
      if (Object.hasOwn(verbs, name)) return Reflect.get(verbs, name)
      const member: unknown = Reflect.get(target, name)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
  return wrapBackend(inner, { registry })
}
