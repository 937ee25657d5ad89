export const POST = { method: 'POST' } as const

/** A browser at one site: keeps its cookies, and follows no redirect. `at` is the same browser at another address of the site. */
export function browser(origin: string, cookies = new Map<string, string>()) {
  const visit = async (path: string, init: RequestInit = {}) => {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const headers = { ...(init.headers as Record<string, string>), ...(cookie && { cookie }) }
    const res = await fetch(new URL(path, origin), { redirect: 'manual', ...init, headers })
    for (const each of res.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(each) ?? []
      if (value === '' || /expires=Thu, 01 Jan 1970/i.test(each)) cookies.delete(name)
      else cookies.set(name, value)
    }
    return { status: res.status, body: await res.text(), headers: res.headers }
  }
  return Object.assign(visit, {
    at: (other: string) => browser(other, cookies),
    cookie: () => [...cookies].map(([name, value]) => `${name}=${value}`).join('; '),
  })
}
