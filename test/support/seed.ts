/** The seed of everything that is random in a test file: a new one each run, or the one in SEED to repeat a run. */
export const SEED = Number(process.env['SEED'] ?? Date.now() % 0x7fffffff)

// Vitest shows it beside the file's name.
console.log(`SEED=${SEED}`)
