import { type Command, EXIT } from '../command.ts'
import { CONNECTION_FLAGS, SECRET_FLAGS, secretsOf } from '../settings.ts'
import { storeOf, withSite } from '../site.ts'

export const doctor: Command = {
  name: 'doctor',
  summary: 'check servers, connection and rights: what is wrong, and its cure',
  flags: { ...CONNECTION_FLAGS, ...SECRET_FLAGS },
  async run(invocation) {
    const { output } = invocation
    // With secrets it also sees another app that uses the prefix.
    const hasSecrets = secretsOf(invocation) !== undefined
    const findings = await withSite(invocation, async (site) => {
      if (!hasSecrets) return site.backend.inspect()
      const store = storeOf(invocation, site)
      return store.check().finally(() => store.close())
    })
    const rows = findings.map(({ severity, code, message, action }) => [severity, code, message, action])
    if (rows.length > 0 || output.isJson)
      output.table({ findings }, ['SEVERITY', 'CODE', 'CAUSE', 'CURE'], rows)
    if (rows.length === 0) output.note('Nothing to say against it.')
    if (!hasSecrets) output.note('Without secrets it is not checked whether another app uses the prefix.')
    return findings.some(({ severity }) => severity === 'error') ? EXIT.found : EXIT.ok
  },
}
