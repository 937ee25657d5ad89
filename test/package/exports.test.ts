import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import * as auth from '../../lib/auth/index.ts'
import * as source from '../../lib/index.ts'
import { ROOT } from './library.ts'

// A name that comes or goes here is a change users see: say so in CHANGELOG.md.
const VALUES = [
  'InProcessStore',
  'LabelLimitError',
  'LabelsUnreadableError',
  'OutcomeUnknownError',
  'SessionConflictError',
  'SessionEndedError',
  'SessionForeignError',
  'SessionIdError',
  'SessionInvalidError',
  'SessionLimitError',
  'SessionNotSerializableError',
  'SessionStoreError',
  'SessionTooLargeError',
  'SessionTtlError',
  'SessionUnknownKeyError',
  'SessionUserIdError',
  'SessionWatchBehindError',
  'StoreClosedError',
  'StoreOptionError',
  'StoreSecretsError',
  'StoreSerializerError',
  'StoreUnavailableError',
  'TaintDeniedError',
  'ValkeyStore',
  'closeOnEnd',
  'createLabelStore',
  'createSessionStore',
  'deniesTaint',
  'isSessionStoreError',
  'safeClientOptions',
  'safeClusterOptions',
  'sessionAdmin',
  'sessionGuard',
  'taintLabels',
  'taintOf',
  'taints',
]

const TYPES = [
  'ActiveSession',
  'Actor',
  'AddTerms',
  'AdminAction',
  'AdminRequest',
  'AnySessionStoreError',
  'ClientSetting',
  'ClientTiming',
  'ClosableConnection',
  'CloseOnEndOptions',
  'Decision',
  'Declassification',
  'Durability',
  'EndAllOptions',
  'EndAllResult',
  'EndOptions',
  'EndResult',
  'EndedSession',
  'FailureCause',
  'Finding',
  'LabelAlarm',
  'LabelAudit',
  'LabelHolder',
  'LabelStore',
  'LabelStoreConfig',
  'LabelStoreOptions',
  'LegacyOptions',
  'ListOptions',
  'LoadTerms',
  'LoadedLabels',
  'OperationTrace',
  'RegisteredSession',
  'SafeClientOptions',
  'SafeClusterOptions',
  'Secret',
  'Secrets',
  'SessionAdminOptions',
  'SessionDevice',
  'SessionEnding',
  'SessionGuardOptions',
  'SessionRegistry',
  'SessionSerializer',
  'SessionStore',
  'SessionStoreConfig',
  'SessionStoreErrorCode',
  'SessionStoreOptions',
  'SessionTarget',
  'SessionWatch',
  'StoreEvents',
  'StoreHealth',
  'Taint',
  'TaintLabelsOptions',
  'TaintPolicy',
  'UserId',
  'ValkeyClient',
  'ValkeyConnection',
  'ValkeyOptions',
  'ValkeyStoreOptions',
  'WatchTarget',
  'WatchedEnding',
]

const AUTH_VALUES = [
  'AuthError',
  'AuthUnavailableError',
  'InvalidClientError',
  'InvalidGrantError',
  'InvalidRequestError',
  'InvalidTokenError',
  'KeysUnavailableError',
  'TooManyAttemptsError',
  'createAuthRouter',
  'gotrueUpstream',
  'hashPassword',
  'localUsers',
]

const AUTH_TYPES = [
  'AccessClaims',
  'AccessTokenOptions',
  'AuthErrorCode',
  'AuthMiddleware',
  'AuthOptions',
  'AuthRequest',
  'AuthUser',
  'Authenticate',
  'Authenticated',
  'Authorization',
  'AuthorizedRequest',
  'Credentials',
  'GotrueUpstreamOptions',
  'LocalUser',
  'LocalUsersOptions',
  'MoreNeeded',
  'PasswordProblem',
  'Rehash',
  'SigningAlgorithm',
  'SigningKey',
  'SigningKeys',
  'StatefulAuthOptions',
  'StatefulAuthRouter',
  'StatelessAuthOptions',
  'StatelessAuthRouter',
  'TokenSubject',
  'UpstreamSession',
]

/** All names a module exports, types included. */
function exportedNames(file: string): string[] {
  const program = ts.createProgram([file], { noResolve: true, noLib: true, types: [] })
  const checker = program.getTypeChecker()
  const tree = program.getSourceFile(file)
  const module = tree && checker.getSymbolAtLocation(tree)
  if (module === undefined) throw new Error(`${file} is not a module`)
  return checker
    .getExportsOfModule(module)
    .map(({ name }) => name)
    .sort()
}

/** The names of what a file declares at its top level. */
function declaredNames(file: string): string[] {
  const { statements } = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.ES2022)
  return statements.flatMap((statement) => {
    if (ts.isVariableStatement(statement))
      return statement.declarationList.declarations.map(({ name }) =>
        ts.isIdentifier(name) ? name.text : '',
      )
    const isNamed =
      ts.isInterfaceDeclaration(statement) ||
      ts.isTypeAliasDeclaration(statement) ||
      ts.isClassDeclaration(statement) ||
      ts.isFunctionDeclaration(statement)
    return isNamed ? [statement.name?.text ?? ''] : []
  })
}

describe('The public names', () => {
  it('are exactly these values', () => {
    expect(Object.keys(source).sort()).toEqual(VALUES)
  })

  it('and, with the types, exactly these', () => {
    expect(exportedNames(join(ROOT, 'lib/index.ts'))).toEqual([...VALUES, ...TYPES].sort())
  })

  it.each(['dist/index.d.ts', 'dist/index.d.cts'])('are the same in %s', (file) => {
    expect(exportedNames(join(ROOT, file))).toEqual([...VALUES, ...TYPES].sort())
  })
})

describe('The public names of the auth entry point', () => {
  it('are exactly these values', () => {
    expect(Object.keys(auth).sort()).toEqual(AUTH_VALUES)
  })

  it.each(['lib/auth/index.ts', 'dist/auth.d.ts', 'dist/auth.d.cts'])(
    'and, with the types, exactly these in %s',
    (file) => {
      expect(exportedNames(join(ROOT, file))).toEqual([...AUTH_VALUES, ...AUTH_TYPES].sort())
    },
  )
})

// A type that a public signature names is exported: else nobody can name what they pass or get.
it.each(['.d.ts', '.d.cts'])('Every declaration in dist/*%s is exported', (ending) => {
  const exported = [...VALUES, ...TYPES, ...AUTH_VALUES, ...AUTH_TYPES]
  const files = readdirSync(join(ROOT, 'dist')).filter((name) => name.endsWith(ending))
  const declared = files.flatMap((name) => declaredNames(join(ROOT, 'dist', name)))

  expect(declared).toEqual(expect.arrayContaining(['SessionRegistry', 'InProcessStore', 'createAuthRouter']))
  expect(declared.filter((name) => !exported.includes(name))).toEqual([])
})
