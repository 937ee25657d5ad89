import type { Backend } from '../../lib/backend/backend.ts'

/** A backend with some verbs replaced, to inject what a real one does only rarely; the others are the real one's. */
export function wrapBackend(inner: Backend, verbs: Partial<Backend>): Backend {
  return new Proxy(inner, {
    get(target, name) {
      if (Object.hasOwn(verbs, name)) return Reflect.get(verbs, name)
      const member: unknown = Reflect.get(target, name)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}
