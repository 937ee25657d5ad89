// By their codes, not by their classes: an app may load the store as CommonJS and this entry point as a module.

export function isLimitError(error: unknown): boolean {
  return codeOf(error) === 'ERR_SESSION_LIMIT'
}

export function isEndedError(error: unknown): boolean {
  return codeOf(error) === 'ERR_SESSION_ENDED'
}

/** Whether the store failed, and not the request. */
export function isStoreFailure(error: unknown): error is { readonly code: string; readonly status: number } {
  return /^ERR_(STORE|SESSION)_/.test(codeOf(error) ?? '')
}

function codeOf(error: unknown): string | undefined {
  const { code } = Object(error) as { readonly code?: unknown }
  return typeof code === 'string' ? code : undefined
}
