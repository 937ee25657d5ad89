import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { until } from './until.ts'
import { countCommands, plainValkey, startCluster, startSentinels, startValkey } from './valkey.ts'

const running: { stop(): Promise<void> }[] = []

function stopLater<Stoppable extends { stop(): Promise<void> }>(started: Stoppable): Stoppable {
  running.push(started)
  return started
}

afterEach(async () => {
  await Promise.all(running.splice(0).map((started) => started.stop()))
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function canBind(port: number): Promise<boolean> {
  const server = createServer()
  const bound = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => resolve(true))
  })
  server.close()
  return bound
}

describe('A server of our own', () => {
  it('answers on its port of 127.0.0.1 and is the process we started', async () => {
    const server = stopLater(await startValkey())
    const info = await server.client().info('server')

    expect(info).toContain(`process_id:${server.pid}\r\n`)
    expect(info).toContain(`tcp_port:${server.port}\r\n`)
    expect(server.url).toBe(`valkey://127.0.0.1:${server.port}`)
  })

  it('is at least version 7', async () => {
    const server = stopLater(await startValkey())
    const info = await server.client().info('server')
    const version = /valkey_version:(\d+)/.exec(info) ?? /redis_version:(\d+)/.exec(info)

    expect(Number(version?.[1])).toBeGreaterThanOrEqual(7)
  })

  it('shares nothing with a second one', async () => {
    const [one, two] = await Promise.all([startValkey(), startValkey()])
    stopLater(one)
    stopLater(two)
    await one.client().set('key', 'one')

    expect(await two.client().get('key')).toBeNull()
    expect(two.port).not.toBe(one.port)
    expect(two.dir).not.toBe(one.dir)
  })

  it('is gone with its folder and its clients once stopped', async () => {
    const server = await startValkey()
    const { pid, dir, port } = server
    const client = server.client()
    await client.ping()

    await server.stop()
    await server.stop()

    expect(isAlive(pid)).toBe(false)
    expect(existsSync(dir)).toBe(false)
    expect(await canBind(port)).toBe(true)
    await until(() => client.status === 'end', { what: 'the client is disconnected' })
  })

  it('is stopped even while it is frozen', async () => {
    const server = await startValkey()
    const { pid } = server
    await server.freeze()

    await server.stop()

    expect(isAlive(pid)).toBe(false)
  })

  it('answers nothing while frozen, and then answers all of it', async () => {
    const server = stopLater(await startValkey())
    const client = server.client()
    await client.ping()
    await server.freeze()
    let answered = false
    const reply = client.set('key', 'late').then(() => {
      answered = true
    })
    await new Promise((resolve) => setTimeout(resolve, 50))
    const wasAnswered = answered

    await server.thaw()
    await reply

    expect(wasAnswered).toBe(false)
    expect(await client.get('key')).toBe('late')
  })

  it('comes back empty on the same port after a kill and a restart', async () => {
    const server = stopLater(await startValkey())
    const { port, pid } = server
    const client = server.client()
    await client.set('key', 'value')

    await server.kill()
    expect(server.running).toBe(false)
    await server.restart()

    expect(server.port).toBe(port)
    expect(server.pid).not.toBe(pid)
    expect(await client.get('key')).toBeNull()
  })

  it('takes more arguments', async () => {
    const server = stopLater(await startValkey({ args: ['--maxmemory', '64mb', '--requirepass', 'open'] }))
    const client = server.client({ password: 'open' })

    expect(await client.config('GET', 'maxmemory')).toEqual(['maxmemory', String(64 * 1024 * 1024)])
  })

  it('says what the server said when it cannot start', async () => {
    await expect(startValkey({ args: ['--no-such-setting', 'yes'] })).rejects.toThrow(
      /FATAL CONFIG[\s\S]*no-such-setting/,
    )
  })

  it('ends with the process that started it, however that ends', async () => {
    const script = join(import.meta.dirname, 'started-and-left.ts')
    const parent = spawn(process.execPath, ['--import', 'tsx', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = await once(parent.stdout, 'data')
    const { pid, dir } = JSON.parse(String(line)) as { pid: number; dir: string }
    expect(isAlive(pid)).toBe(true)

    parent.kill('SIGKILL')

    await until(() => !isAlive(pid) && !existsSync(dir), { what: 'the server is gone' })
  })

  it('counts the commands that some work costs', async () => {
    const server = stopLater(await startValkey())
    const client = server.client()
    await client.set('before', '1')

    const counts = await countCommands(client, async () => {
      await client.get('key')
      await client.get('key')
      await client.eval("return redis.call('SET', KEYS[1], '1')", 1, 'key')
    })

    expect(counts).toEqual({ get: 2, eval: 1, set: 1 })
  })
})

describe('A plain server', () => {
  afterEach(() => {
    delete process.env['TEST_VALKEY_SERVER']
  })

  it('is an empty database of the server whose URL the override names, and leaves it as it was', async () => {
    const host = stopLater(await startValkey())
    const owner = host.client()
    await owner.set('precious', 'data')
    process.env['TEST_VALKEY_SERVER'] = host.url

    const [one, two] = await Promise.all([plainValkey(), plainValkey()])
    const client = one.client()
    await client.set('key', 'value')

    expect(one.url).toMatch(new RegExp(`^${host.url}/[1-9]`))
    expect(two.url).not.toBe(one.url)
    expect(await client.get('precious')).toBeNull()
    await Promise.all([one.stop(), two.stop()])
    expect(await owner.info('keyspace')).toMatch(/^# Keyspace\r\ndb0:keys=1,[^\r]*\r\n$/)
    expect(await owner.get('precious')).toBe('data')
  })

  it('is never one on another machine', async () => {
    process.env['TEST_VALKEY_SERVER'] = 'valkey://192.0.2.1:6379'

    await expect(plainValkey()).rejects.toThrow(/127\.0\.0\.1 only/)
  })
})

describe('A cluster', () => {
  it('serves every slot from three primaries', async () => {
    const cluster = stopLater(await startCluster())
    const client = cluster.client()
    const keys = Array.from({ length: 30 }, (_, index) => `key-${index}`)

    await Promise.all(keys.map((key) => client.set(key, key)))

    expect(await Promise.all(keys.map((key) => client.get(key)))).toEqual(keys)
    const sizes = await Promise.all(cluster.primaries.map((primary) => primary.client().dbsize()))
    expect(sizes.every((size) => size > 0)).toBe(true)
    expect(cluster.nodes).toHaveLength(3)
  })

  it('has a replica in step for each primary, which takes over', async () => {
    const cluster = stopLater(await startCluster({ replicas: 1 }))
    const client = cluster.client()
    await client.set('key', 'value')
    const [primary] = cluster.primaries
    const replica = cluster.replicas[0]?.client()

    await primary?.kill()

    await until(async () => (await replica?.info('replication'))?.includes('role:master'), {
      withinMs: 20_000,
    })
    await until(async () => (await client.set('after', '1').catch(() => '')) === 'OK', { withinMs: 20_000 })
    expect(cluster.replicas).toHaveLength(3)
  })
})

describe('Sentinels', () => {
  it('know the primary, and make the replica the primary when it dies', async () => {
    const watched = stopLater(await startSentinels())
    const client = watched.client()
    await client.set('key', 'value')
    await client.wait(1, 1000)
    expect(await watched.primaryPort()).toBe(watched.primary.port)

    await watched.primary.kill()

    await until(async () => (await watched.primaryPort()) === watched.replica.port, { withinMs: 20_000 })
    expect(await client.get('key')).toBe('value')
  })
})
