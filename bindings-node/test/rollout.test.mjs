// A rollout with real processes behind the real proxy.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { blueGreen, Pipeline, Reader } from '../dist/index.js'
import { engine, program, within } from './help.mjs'

const SHOP = `require('http').createServer((_, answer) => answer.end(process.env.VERSION))
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
function shipping(version, port, keepOld) {
  const p = new Pipeline('release')
  const command = [process.execPath, '-e', SHOP]
  const release = p.step('release', () => ({ version, command, env: { VERSION: version } }))
  const serve = { listen: `127.0.0.1:${port}`, replicas: 1, drain: '1s' }
  p.rollout('ship', blueGreen('shop', { serve, keepOld, progressDeadline: '30s' }), { release })
  return p
}

test('what is promoted is reverted while the old version is kept', async (t) => {
  const { engine: e, path } = await engine(t)
  const port = await freePort()
  try {
    const first = await within(e.run(shipping('v1', port, '0s'), { key: 'v1' }), 'the first release')
    assert.equal(first.status, 'succeeded')
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
