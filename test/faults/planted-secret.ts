import { randomBytes } from 'node:crypto'

/** A word that is part of every secret of a run, and so must not turn up in anything that gets out. */
export class PlantedSecret {
  readonly word = `planted${randomBytes(6).toString('hex')}`
  readonly #forms: readonly string[]

  constructor() {
    const bytes = Buffer.from(this.word)
    this.#forms = [this.word, bytes.toString('hex'), spaced(bytes), ...base64Forms(bytes)]
  }

  /** Whether the word is in the text, as it is or as hex or base64. */
  isIn(text: string): boolean {
    return this.#forms.some((form) => text.includes(form))
  }

  /** A secret that holds the word. */
  secret(name: string): string {
    return `${this.word}.${name}.${randomBytes(16).toString('hex')}`
  }
}

// As `inspect` prints bytes, which cuts them after fifty.
function spaced(bytes: Buffer): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
}

// Which base64 characters stand for the word depends on where in a group of three bytes it begins.
function base64Forms(bytes: Buffer): string[] {
  return [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64')
    return text.slice(Math.ceil((offset * 8) / 6), Math.floor(((offset + bytes.length) * 8) / 6))
  })
}
