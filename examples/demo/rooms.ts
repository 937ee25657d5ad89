/** A room of the demo, as navigation and start page show it. */
export interface Room {
  readonly path: string
  readonly title: string
  readonly group: 'Start' | 'Sessions' | 'Labs' | 'Under the hood'
  /** What its tile on the start page says; without it there is no tile. */
  readonly tile?: string
}

export const ROOMS: readonly Room[] = [
  { path: '', title: 'Home', group: 'Start' },
  {
    path: 'devices',
    title: 'My devices',
    group: 'Sessions',
    tile: 'See where you are signed in. End one device, and it says so at once, why, and by whom.',
  },
  { path: 'admin', title: 'Admin', group: 'Sessions' },
  {
    path: 'race-lab',
    title: 'Race lab',
    group: 'Labs',
    tile: 'Fifty slow saves against one sign-out. Count how many bring the session back.',
  },
  {
    path: 'outage-lab',
    title: 'Outage lab',
    group: 'Labs',
    tile: 'Freeze, fill or kill Valkey. Every request gets a quick answer, and nobody is signed out.',
  },
  {
    path: 'taint-lab',
    title: 'Taint lab',
    group: 'Labs',
    tile: 'Read a customer, and the session is labelled. Then try to export.',
  },
  {
    path: 'stored-bytes',
    title: 'What Valkey sees',
    group: 'Under the hood',
    tile: 'The bytes as stored: nothing readable. Flip one, and see it refused.',
  },
  {
    path: 'tokens',
    title: 'Tokens',
    group: 'Under the hood',
    tile: 'Two tabs refresh at once and get one successor. A stolen token ends its family.',
  },
  { path: 'numbers', title: 'Numbers', group: 'Under the hood' },
]
