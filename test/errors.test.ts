import { createRequire } from 'node:module'
import express from 'express'
import createError, { isHttpError } from 'http-errors'
import request from 'supertest'
import { describe, expect, it, vi } from 'vitest'
import * as auth from '../lib/auth/index.ts'
import * as library from '../lib/index.ts'

const express4: typeof express = createRequire(import.meta.url)('express4')

const { isSessionStoreError, SessionStoreError } = library

const ERRORS: readonly library.AnySessionStoreError[] = [
  new library.SessionConflictError(),
  new library.SessionEndedError('ended'),
  new library.SessionLimitError(3),
  new library.SessionInvalidError(),
  new library.SessionUnknownKeyError(),
  new library.SessionTooLargeError(2, 1),
  new library.SessionNotSerializableError('it is a cycle'),
  new library.SessionTtlError('ttl'),
  new library.SessionUserIdError({}),
  new library.SessionIdError(),
  new library.SessionForeignError('other-secrets'),
  new library.SessionWatchBehindError(1),
  new library.StoreUnavailableError('connection'),
  new library.OutcomeUnknownError('timeout'),
  new library.StoreClosedError(),
  new library.StoreSecretsError('failed'),
  new library.StoreSerializerError('stringify', 1),
  new library.StoreOptionError('userId', new Error('broken')),
  new library.LabelsUnreadableError(),
  new library.LabelLimitError(1),
  new library.TaintDeniedError('labels'),
  new auth.InvalidRequestError('a parameter is missing'),
  new auth.InvalidClientError({ isBasic: false }),
  new auth.InvalidGrantError('invalid_credentials', 'wrong'),
  new auth.InvalidTokenError(),
  new auth.TooManyAttemptsError(),
  new auth.KeysUnavailableError('no reply'),
  new auth.AuthUnavailableError('the upstream'),
]

const named = ERRORS.map((error) => ({ name: error.name, error }))

describe.each(named)('$name', ({ error }) => {
  it('is an error of http-errors, which shows its message only below 500', () => {
    expect(isHttpError(error)).toBe(true)
    expect(createError(error)).toBe(error)
    expect(error.statusCode).toBe(error.status)
    expect(error.expose).toBe(error.status < 500)
  })

  it('has the one base, and the name of its class', () => {
    expect(error).toBeInstanceOf(SessionStoreError)
    expect(error.name).toBe(error.constructor.name)
    expect(isSessionStoreError(error)).toBe(true)
  })

  it('is recognized by a second copy of the package, and shows nothing of how', async () => {
    vi.resetModules()
    const copy = await import('../lib/errors.ts')

    expect(copy.SessionStoreError).not.toBe(SessionStoreError)
    expect(copy.isSessionStoreError(error)).toBe(true)
    expect(Object.keys(error)).not.toContain('express-session-valkey.error')
    expect(Object.getOwnPropertySymbols(error)).toEqual([])
  })

  it.each([
    ['5', express],
    ['4', express4],
  ] as const)('is answered by Express %s with its status and headers', async (_version, makeApp) => {
    const app = makeApp()
    app.set('env', 'test')
    app.get('/', (_req, _res, next) => next(error))

    const response = await request(app).get('/')

    expect(response.status).toBe(error.status)
    expect(response.headers['retry-after']).toBe(error.headers['Retry-After'])
  })
})

it('every class of the package is among these', () => {
  const bases: readonly unknown[] = [SessionStoreError, auth.AuthError]
  const classes = Object.values({ ...library, ...auth }).filter(
    (value) => isErrorClass(value) && !bases.includes(value),
  )

  expect(new Set(ERRORS.map((error) => error.constructor))).toEqual(new Set(classes))
})

it.each([undefined, null, 'ERR_STORE_CLOSED', {}, new Error('other'), { code: 'ERR_STORE_CLOSED' }])(
  '%o is no error of the package',
  (value) => {
    expect(isSessionStoreError(value)).toBe(false)
  },
)

it('a switch over the code narrows to the class, without a cast', () => {
  const details = ERRORS.map((error) => {
    switch (error.code) {
      case 'ERR_SESSION_LIMIT':
        return error.maxSessionsPerUser
      case 'ERR_SESSION_TOO_LARGE':
        return error.bytes
      case 'ERR_SESSION_ENDED':
        return error.ending
      case 'ERR_STORE_OPTION':
        return error.option
      case 'ERR_TAINT_DENIED':
        return error.reason
      case 'ERR_AUTH_GRANT':
        return error.errorCode
      default:
        return undefined
    }
  })

  expect(details.filter((detail) => detail !== undefined)).toEqual([
    'ended',
    3,
    2,
    'userId',
    'labels',
    'invalid_credentials',
  ])
})

function isErrorClass(value: unknown): boolean {
  return typeof value === 'function' && value.prototype instanceof Error
}
