import { createRequire } from 'node:module'
import express from 'express'
import createError, { isHttpError } from 'http-errors'
import request from 'supertest'
import { describe, expect, it } from 'vitest'
import * as library from '../lib/index.ts'

const express4: typeof express = createRequire(import.meta.url)('express4')

const { LabelError, SessionStoreError } = library

type AnyError = InstanceType<typeof SessionStoreError> | InstanceType<typeof LabelError>

const ERRORS: readonly AnyError[] = [
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
]

const named = ERRORS.map((error) => ({ name: error.name, error }))

describe.each(named)('$name', ({ error }) => {
  it('is an error of http-errors, which shows its message only below 500', () => {
    expect(isHttpError(error)).toBe(true)
    expect(createError(error)).toBe(error)
    expect(error.statusCode).toBe(error.status)
    expect(error.expose).toBe(error.status < 500)
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
  const classes = Object.values(library).filter(
    (value) => isErrorClass(value) && value !== SessionStoreError && value !== LabelError,
  )

  expect(new Set(ERRORS.map((error) => error.constructor))).toEqual(new Set(classes))
})

function isErrorClass(value: unknown): boolean {
  return typeof value === 'function' && value.prototype instanceof Error
}
