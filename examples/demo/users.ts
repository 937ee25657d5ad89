import { type Authenticate, hashPassword, localUsers } from 'express-session-valkey/auth'

export interface DemoUser {
  readonly id: string
  readonly name: string
  /** What the sign-in page says of them. */
  readonly about: string
  readonly isAdmin: boolean
  /** In the open, as the sign-in page offers it. Only a demo has this; what is verified is the hash. */
  readonly password: string
}

export interface Users {
  readonly all: readonly DemoUser[]
  get(id: string): DemoUser | undefined
  /** Verifies a password against its argon2id hash. */
  readonly authenticate: Authenticate
}

const SEEDED: readonly DemoUser[] = [
  {
    id: 'ada',
    name: 'Ada Lindqvist',
    about: 'Uses a laptop and a phone.',
    isAdmin: false,
    password: 'analytical-engine',
  },
  {
    id: 'max',
    name: 'Maximilian-Alexander von Hohenstein-Wolkenburg zu Oberammergau',
    about: 'Has a long name.',
    isAdmin: false,
    password: 'long-live-the-name',
  },
  {
    id: 'kiosk',
    name: 'Kiosk',
    about: 'One account on many screens.',
    isAdmin: false,
    password: 'please-touch-the-screen',
  },
  {
    id: 'olga',
    name: 'Olga Petrov',
    about: 'Administrator.',
    isAdmin: true,
    password: 'keeper-of-the-keys',
  },
]

/** The demo's users, with passwords hashed as a real database has them. */
export async function seedUsers(): Promise<Users> {
  const rows = await Promise.all(
    SEEDED.map(async (user) => ({ user, passwordHash: await hashPassword(user.password) })),
  )
  const byId = new Map(rows.map((row) => [row.user.id, row]))
  return {
    all: SEEDED,
    get: (id) => byId.get(id)?.user,
    authenticate: localUsers({
      find: (username) => {
        const row = byId.get(username)
        return row && { id: row.user.id, passwordHash: row.passwordHash, profile: { name: row.user.name } }
      },
    }),
  }
}
