// Loaded into the program under test: prints how much memory is in use once the garbage is collected.
const sample = () => {
  globalThis.gc()
  const { heapUsed, external } = process.memoryUsage()
  process.stderr.write(`heap ${heapUsed + external}\n`)
}

setInterval(sample, 100).unref()
