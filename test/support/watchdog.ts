import { spawn } from 'node:child_process'

// In a process group of its own, so that Ctrl-C, which goes to the whole group of the test runner, does not end it.
// SIGCONT first: a frozen process takes its SIGKILL, but its waiting parent may never hear of it on every system.
const SCRIPT = `
trap '' INT TERM HUP
pid=
while read -r word; do
  [ "$word" = done ] && exit 0
  pid="$word"
done
[ -n "$pid" ] && kill -CONT "$pid" && kill -KILL "$pid"
sleep 0.2
rm -rf "$1"
`

/** Ends a process and removes its folder when this process is no more, however it ended. */
export class Watchdog {
  readonly #child

  constructor(folder: string) {
    this.#child = spawn('sh', ['-c', SCRIPT, 'sh', folder], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    this.#child.unref()
    this.#child.stdin.on('error', () => undefined)
    if ('unref' in this.#child.stdin && typeof this.#child.stdin.unref === 'function')
      this.#child.stdin.unref()
  }

  watch(pid: number): void {
    this.#child.stdin.write(`${pid}\n`)
  }

  /** The process has ended; its folder is still needed. */
  unwatch(): void {
    this.#child.stdin.write('\n')
  }

  dismiss(): void {
    this.#child.stdin.end('done\n')
  }
}
