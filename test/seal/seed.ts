const { FC_SEED } = process.env

/** The seed of the property tests: a new one each run, or the one in FC_SEED to repeat a run. Printed for that. */
export const SEED = Number(FC_SEED ?? Date.now() % 0x7fffffff)

console.log(`property tests: FC_SEED=${SEED}`)
