// A rollout with real processes behind the real proxy.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { blueGreen, canary, Engine, Pipeline, Reader, sequential } from '../dist/index.js'
import { engine, folder, program, until, within } from './help.mjs'

const SHOP = `if (process.env.SICK) {
    setInterval(() => require('fs').existsSync(process.env.SICK) && process.exit(1), 50)
  }
  const wait = +process.env.SLEEP || 0
  require('http').createServer((_, answer) => setTimeout(() => answer.end(process.env.VERSION), wait))
  .listen(process.env.PORT, process.env.HOST)`

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  await once(server.close(), 'close')
  return port
}

/** What is served. */
async function answers(port) {
  return (await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })).text()
}

/** A pipeline of one rollout, `ship`. */
function shipping(version, port, keepOld, env = {}) {
  const p = new Pipeline('release')
  const command = [process.execPath, '-e', SHOP]
  const release = p.step('release', () => ({ version, command, env: { VERSION: version, ...env } }))
  const serve = { listen: `127.0.0.1:${port}`, replicas: 1, drain: '1s' }
  p.rollout('ship', blueGreen('shop', { serve, keepOld, progressDeadline: '30s' }), { release })
  return p
}

test('a run whose program was killed is ended without it', async (t) => {
  const dir = folder(t)
  const port = await freePort()
  const child = program(t, 'ship.mjs', dir, String(port), SHOP)
  await child.wrote('.')
  child.child.kill('SIGKILL')
  const { output } = await child.ended()
  const id = /waits (\S+)\./.exec(output)[1]
  const e = await Engine.open(join(dir, 'journal.db'))
  t.after(() => e.close())
  try {
    const blocked = await within(e.run(shipping('v3', port, '0s'), { key: 'v3' }), 'the refusal')
    assert.match(blocked.steps.ship.reason, /cancel that run with the engine/)
    const run = await e.cancel(id, { by: 'ops', reason: 'its program is gone' })
    const outcome = await within(run.outcome(), 'the end')
    assert.equal(outcome.status, 'cancelled')
    assert.deepEqual(
      Object.entries(outcome.steps).map(([name, { status }]) => [name, status]).sort(),
      [['announce', 'skipped'], ['release', 'succeeded'], ['report', 'skipped'], ['ship', 'cancelled'], ['tidy', 'succeeded']],
    )
    assert.match(outcome.steps.report.reason, /without the program that has the function/)
    assert.ok(existsSync(join(dir, 'tidied-v2')))
    const service = await e.service('shop')
    assert.deepEqual([service.stable, service.weights, service.claim], ['v1', { v1: 100 }, null])
    assert.equal(await answers(port), 'v1')
    await assert.rejects(e.cancel(id), { kind: 'conflict', message: /the run has ended/ })
    await assert.rejects(e.cancel('nobody'), { kind: 'not_found' })
  } finally {
    await e.removeService('shop')
  }
})

test('a promotion goes on without an old version that is sick', async (t) => {
  const { engine: e, dir } = await engine(t)
  const port = await freePort()
  const sick = join(dir, 'sick')
  try {
    await within(e.run(shipping('v1', port, '0s', { SICK: sick }), { key: 'v1' }), 'the first release')
    writeFileSync(sick, '')
    await until(async () => (await answers(port)) !== 'v1', 'the old version to be sick')
    const run = await e.start(shipping('v2', port, '0s'), { key: 'v2' })
    for await (const event of run) {
      if (event.kind === 'rollout' && event.event.kind === 'seen' && event.event.seen.versions.v1.ready === 0) {
        await run.promote('ship')
        break
      }
    }
    const outcome = await within(run.outcome(), 'the rollout')
    assert.equal(outcome.status, 'succeeded', outcome.steps.ship.reason)
    assert.equal(await answers(port), 'v2')
  } finally {
    await e.removeService('shop')
  }
})

test('judged windows have the latencies that a client measured', async (t) => {
  const { engine: e } = await engine(t)
  const port = await freePort()
  const longest = { v1: 0, v2: 0 }
  let over = false
  async function client() {
    while (!over) {
      const began = performance.now()
      const version = await answers(port)
      longest[version] = Math.max(longest[version], performance.now() - began)
    }
  }
  try {
    await within(e.run(shipping('v1', port, '0s'), { key: 'v1' }), 'the first release')
    const p = new Pipeline('release')
    const serve = { listen: `127.0.0.1:${port}`, replicas: 1, drain: '1s' }
    const judge = sequential({ window: '200ms', burst: '0s', warmup: '0s' })
    const env = { VERSION: 'v2', SLEEP: '60' }
    const release = p.step('release', () => ({ version: 'v2', command: [process.execPath, '-e', SHOP], env }))
    const canaries = canary('shop', { serve, steps: [50], bake: '60s', judge, progressDeadline: '30s' })
    p.rollout('ship', canaries, { release })
    const run = await e.start(p, { key: 'v2' })
    const load = client()
    const windows = []
    const judged = (async () => {
      for await (const event of run) {
        if (event.kind === 'rollout' && event.event.kind === 'window_judged') {
          windows.push(event.event)
          const { canary, stable } = event.event.counts
          if (canary.requests > 0 && stable.requests > 0) break
        }
      }
    })()
    await within(judged, 'a window with requests of both')
    // After a whole request, so that none is counted that was not measured.
    over = true
    await load
    await run.abort('ship', { by: 'tester', reason: 'enough' })
    await within(run.outcome(), 'the way back')
    assert.ok(windows.length > 0)
    for (const { counts, latency = {} } of windows) {
      for (const [side, version, least] of [['canary', 'v2', 50], ['stable', 'v1', 0]]) {
        assert.equal(side in latency, counts[side].requests > 0)
        if (!(side in latency)) continue
        const { p50, p95, p99 } = latency[side]
        // A proxy sees less of a request than its client, and no less than the server's wait.
        const fits = least * 1_000 <= p50 && p50 <= p95 && p95 <= p99 && p99 <= longest[version] * 1_010
        assert.ok(fits, `${side}: ${p50} ${p95} ${p99} of ${longest[version]} ms`)
      }
    }
  } finally {
    over = true
    await e.removeService('shop')
  }
})

test('what is promoted is reverted while the old version is kept', async (t) => {
  const { engine: e, path } = await engine(t)
  const port = await freePort()
  try {
    const first = await within(e.run(shipping('v1', port, '0s'), { key: 'v1' }), 'the first release')
    assert.equal(first.status, 'succeeded')
    for (let i = 0; i < 5; i++) assert.equal(await answers(port), 'v1')
    const { versions, instances, address } = await e.serviceStats('shop')
    assert.deepEqual([address, versions.v1.requests, versions.v1.errors], [`127.0.0.1:${port}`, 5, 0])
    assert.deepEqual(versions.v1.latency.buckets.at(-1), { upTo: 60_000_000, count: 5 })
    assert.deepEqual(instances.map(({ version, slot, state }) => [version, slot, state]), [['v1', 0, 'ready']])
    assert.ok(process.kill(instances[0].pid, 0))
    await assert.rejects(e.serviceStats('shpo'), { kind: 'not_found' })
    const reader = await Reader.open(path)
    t.after(() => reader.close())
    for (const version of ['v2', 'v3']) {
      const run = await e.start(shipping(version, port, '10m'), { key: version })
      for await (const event of run) {
        if (event.kind === 'rollout' && event.event.kind === 'promoted') {
          break
        }
      }
      assert.equal(await answers(port), version)
      await assert.rejects(run.abort('ship'), { kind: 'conflict', help: /revert goes back to v1/ })
      if (version === 'v2') {
        await run.revert('ship', { by: 'operator', reason: 'worse' })
      } else {
        assert.equal((await program(t, 'say.mjs', path, run.id, 'revert', 'ship').ended()).code, 0)
      }
      const outcome = await within(run.outcome(), 'the way back')
      assert.deepEqual(
        [outcome.status, outcome.steps.ship.reason],
        ['failed', `${version} reverted to v1 by operator: worse`],
      )
      const service = await e.service('shop')
      assert.deepEqual([service.stable, service.weights, service.claim], ['v1', { v1: 100 }, null])
      assert.equal(await answers(port), 'v1')
      const over = { kind: 'conflict', help: /a run with a revert step/ }
      await assert.rejects(run.revert('ship'), over)
      await assert.rejects(reader.revert(run.id, 'ship'), over)
    }
  } finally {
    await e.removeService('shop')
  }
})
