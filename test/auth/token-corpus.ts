import { createHmac, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'

/** What a corpus is made for: the one token of it that is genuine, and the key that signed it. */
export interface Genuine {
  readonly token: string
  readonly key: KeyObject
  readonly nowS: number
}

export type BadToken = readonly [name: string, token: string]

type Json = Readonly<Record<string, unknown>>

export function base64url(value: string | Buffer): string {
  return Buffer.from(value).toString('base64url')
}

function jsonOf(part: string | undefined): Json {
  return JSON.parse(Buffer.from(part ?? '', 'base64url').toString()) as Json
}

/** Signs any two texts, as no library would. */
export function signed(header: string, payload: string, key: KeyObject): string {
  const input = `${base64url(header)}.${base64url(payload)}`
  const signature =
    key.type === 'secret'
      ? createHmac('sha256', key).update(input).digest()
      : sign(key.asymmetricKeyType === 'ed25519' ? null : 'sha256', Buffer.from(input), {
          key,
          dsaEncoding: 'ieee-p1363',
        })
  return `${input}.${base64url(signature)}`
}

/**
 * Tokens that must not be accepted: RFC 8725 by section, RFC 7515 and RFC 9068, CVEs of JWT libraries, and what jose accepts even when its
 * options are pinned. Those made with `key` would pass wherever only the signature counts.
 */
export function badTokens({ token, key, nowS }: Genuine): BadToken[] {
  const [headerPart = '', payloadPart = '', signaturePart = ''] = token.split('.')
  const header = jsonOf(headerPart)
  const payload = jsonOf(payloadPart)
  const withHeader = (change: Json, by = key): string =>
    signed(JSON.stringify({ ...header, ...change }), JSON.stringify(payload), by)
  const withClaims = (change: Json): string =>
    signed(JSON.stringify(header), JSON.stringify({ ...payload, ...change }), key)
  const withText = (text: string): string => signed(JSON.stringify(header), text, key)
  const without = (name: string): string => withClaims({ [name]: undefined })
  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const pem = createPublicKey(key).export({ format: 'pem', type: 'spki' })
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const publicJwk = createPublicKey(stranger).export({ format: 'jwk' })
  const hmacWithPem = (): string => {
    const input = `${base64url(JSON.stringify({ ...header, alg: 'HS256' }))}.${payloadPart}`
    return `${input}.${base64url(createHmac('sha256', pem).update(input).digest())}`
  }
  const derSignature = sign('sha256', Buffer.from(`${headerPart}.${payloadPart}`), key)
  const lastCharacter =
    signaturePart.at(-1) === 'A' ? 'B' : String.fromCharCode((signaturePart.at(-1) ?? 'A').charCodeAt(0) + 1)

  return [
    // The algorithm: RFC 8725 §2.1, §3.1.
    ['alg none, no signature', `${base64url(JSON.stringify({ ...header, alg: 'none' }))}.${payloadPart}.`],
    [
      'alg None, with the signature',
      `${base64url(JSON.stringify({ ...header, alg: 'None' }))}.${payloadPart}.${signaturePart}`,
    ],
    ['alg HS256, keyed with the public PEM', hmacWithPem()],
    [
      'alg RS256 by a key of the stranger',
      `${signed(JSON.stringify({ ...header, alg: 'RS256' }), JSON.stringify(payload), rsa)}`,
    ],
    ['alg ES384', withHeader({ alg: 'ES384' })],
    ['alg missing', withHeader({ alg: undefined })],
    ['alg an array', withHeader({ alg: ['ES256'] })],
    ['alg in lower case', withHeader({ alg: 'es256' })],
    // Keys that the token brings along: RFC 8725 §3.10, RFC 7515 §4.1.
    ['the key of the stranger under our kid', withHeader({}, stranger)],
    ['jwk of the stranger', withHeader({ jwk: publicJwk }, stranger)],
    ['jku of the stranger', withHeader({ jku: 'http://127.0.0.1:9/jwks.json' }, stranger)],
    ['jku beside our key', withHeader({ jku: 'http://127.0.0.1:9/jwks.json' })],
    ['x5u', withHeader({ x5u: 'http://127.0.0.1:9/cert.pem' })],
    ['x5c of the stranger', withHeader({ x5c: ['MIIB'] }, stranger)],
    ['kid unknown', withHeader({ kid: 'unknown' })],
    ['kid missing', withHeader({ kid: undefined })],
    ['kid an array', withHeader({ kid: [header['kid']] })],
    ['kid of 7,000 characters', withHeader({ kid: 'k'.repeat(7000) })],
    ['kid a path', withHeader({ kid: '../../dev/null' })],
    ['kid __proto__', withHeader({ kid: '__proto__' })],
    ['crit with an extension', withHeader({ crit: ['exp'] })],
    ['b64 false', withHeader({ b64: false, crit: ['b64'] })],
    ['zip', withHeader({ zip: 'DEF' })],
    // The type of token: RFC 8725 §3.11, RFC 9068 §4.
    ['typ JWT', withHeader({ typ: 'JWT' })],
    ['typ missing', withHeader({ typ: undefined })],
    ['typ of a logout token', withHeader({ typ: 'logout+jwt' })],
    ['cty JWT', withHeader({ cty: 'JWT' })],
    // The signature.
    ['signature empty', `${headerPart}.${payloadPart}.`],
    ['signature of zeros (CVE-2022-21449)', `${headerPart}.${payloadPart}.${base64url(Buffer.alloc(64))}`],
    ['signature in DER', `${headerPart}.${payloadPart}.${base64url(derSignature)}`],
    ['signature cut', token.slice(0, -2)],
    ['signature with == appended', `${token}==`],
    ['signature with its unused bits set', `${token.slice(0, -1)}${lastCharacter}`],
    [
      'payload exchanged',
      `${headerPart}.${base64url(JSON.stringify({ ...payload, sub: 'admin' }))}.${signaturePart}`,
    ],
    // The form: RFC 7515 §5.2, RFC 7519 §7.2.
    ['empty', ''],
    ['two parts', `${headerPart}.${payloadPart}`],
    ['four parts', `${token}.${signaturePart}`],
    ['five parts, as of a JWE', `${token}..`],
    ['white space around', ` ${token} `],
    ['a line break in it', `${headerPart}.\n${payloadPart}.${signaturePart}`],
    ['base64 with + and /', `${headerPart}.${payloadPart.slice(0, -2)}+/.${signaturePart}`],
    [
      'JSON serialization',
      JSON.stringify({ protected: headerPart, payload: payloadPart, signature: signaturePart }),
    ],
    ['a megabyte', `${headerPart}.${'A'.repeat(1 << 20)}.${signaturePart}`],
    ['payload no JSON', withText('payload')],
    ['payload an array', withText('[1]')],
    ['payload with a member twice', withText(`{"sub":"admin",${JSON.stringify(payload).slice(1)}`)],
    ['payload with __proto__', withText(`{"__proto__":{"sub":"admin"},${JSON.stringify(payload).slice(1)}`)],
    // Issuer and audience: RFC 8725 §3.8, §3.9.
    ['iss of somebody else', withClaims({ iss: 'https://evil.example' })],
    ['iss with a slash more', withClaims({ iss: `${payload['iss']}/` })],
    ['aud of another service', withClaims({ aud: 'other' })],
    ['aud missing', without('aud')],
    ['aud an object', withClaims({ aud: { 0: payload['aud'] } })],
    // Times.
    ['expired', withClaims({ iat: nowS - 400, exp: nowS - 100 })],
    ['exp missing', without('exp')],
    ['exp 1e309', withText(JSON.stringify({ ...payload, exp: 0 }).replace('"exp":0', '"exp":1e309'))],
    ['exp a string', withClaims({ exp: String(payload['exp']) })],
    ['exp with a fraction', withClaims({ exp: Number(payload['exp']) - 0.5 })],
    ['exp beyond the lifetime', withClaims({ exp: nowS + 86_400 })],
    ['iat in the future', withClaims({ iat: nowS + 200, exp: nowS + 250 })],
    ['iat missing', without('iat')],
    ['nbf in the future', withClaims({ nbf: nowS + 60 })],
    // Who: RFC 9068 §2.2.
    ['sub empty', withClaims({ sub: '' })],
    ['sub null', withClaims({ sub: null })],
    ['sub a number', withClaims({ sub: 1 })],
    ['sid an object', withClaims({ sid: { handle: payload['sid'] } })],
    ['sid missing', without('sid')],
    ['jti missing', without('jti')],
    ['client_id missing', without('client_id')],
    // Bound to a key that the bearer need not show: RFC 7800, RFC 9449.
    ['cnf', withClaims({ cnf: { jkt: 'thumbprint' } })],
  ]
}
