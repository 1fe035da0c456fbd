import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'

import { build } from './build.mjs'
import { Shop } from './shop.mjs'

/** Builds a version into a folder of its own and runs it until the test ends. */
async function started(t, version) {
  const folder = await mkdtemp(join(tmpdir(), 'shop-'))
  t.after(() => rm(folder, { recursive: true }))
  await build(version, folder)
  const env = { ...process.env, HOST: '127.0.0.1', PORT: '0' }
  const child = spawn(process.execPath, [join(folder, 'main.mjs')], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  const exited = once(child, 'exit')
  const [line] = await once(createInterface(child.stdout), 'line')
  return { child, port: Number(/:(\d+)$/.exec(line)[1]), exited }
}

test('sells drinks', () => {
  const shop = new Shop('v1')
  assert.deepEqual(shop.answer('GET', '/?a=b', ''), [200, { shop: 'hot drinks', version: 'v1', items: 3 }])
  assert.deepEqual(shop.answer('GET', '/items', '')[1].items[1], { item: 'tea', price: 450 })
  const order = shop.answer('POST', '/orders', '{"item":"tea","quantity":2}')
  assert.deepEqual(order, [201, { item: 'tea', quantity: 2, total: 900 }])
})

test('refuses what can not be', () => {
  const shop = new Shop('v3')
  for (const [method, path, body, status] of [
    ['POST', '/orders', 'tea', 400],
    ['POST', '/orders', 'null', 422],
    ['POST', '/orders', '{"item":"toString","quantity":1}', 422],
    ['POST', '/orders', '{"item":"gold","quantity":1}', 422],
    ['POST', '/orders', '{"item":"tea","quantity":0}', 422],
    ['POST', '/orders', '{"item":"tea","quantity":101}', 422],
    ['POST', '/orders', '{"item":"tea","quantity":1.5}', 422],
    ['POST', '/orders', '{"item":"tea","quantity":true}', 422],
    ['POST', '/items', '', 405],
    ['GET', '/orders', '', 405],
    ['GET', '/gold', '', 404],
  ]) {
    assert.equal(shop.answer(method, path, body)[0], status, `${method} ${path} ${body}`)
  }
})

test('versions differ and only the third fails', (t) => {
  t.mock.method(console, 'error', () => {})
  const versions = [['v1', false, 0], ['v2.0.1', true, 0], ['3', true, 300], ['v4', true, 0], ['dev', false, 0]]
  for (const [version, featured, bad] of versions) {
    const shop = new Shop(version)
    assert.equal('featured' in shop.answer('GET', '/', '')[1], featured, version)
    let failed = 0
    for (let i = 0; i < 10_000; i += 1) failed += shop.answer('GET', '/items', '')[0] === 500
    assert.ok(Math.abs(failed - bad) <= bad / 5, `${version}: ${failed} of 10,000`)
    for (let i = 0; i < 200; i += 1) assert.equal(shop.answer('GET', '/healthz', '')[0], 200)
  }
})

test('keeps connections and finishes requests on SIGTERM', { timeout: 60_000 }, async (t) => {
  const { child, port, exited } = await started(t, 'v1')

  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.after(() => agent.destroy())
  let idleEnded
  for (const reused of [false, true]) {
    const sent = request({ host: '127.0.0.1', port, path: '/healthz', agent }).end()
    const [answer] = await once(sent, 'response')
    assert.deepEqual([answer.statusCode, answer.headers['x-version'], sent.reusedSocket], [200, 'v1', reused])
    await once(answer.resume(), 'end')
    idleEnded ??= once(sent.socket, 'close')
  }

  const busy = connect(port, '127.0.0.1')
  busy.setEncoding('utf8')
  let text = ''
  busy.on('data', (part) => (text += part))
  const ended = once(busy, 'close')
  busy.write('POST /orders HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n')
  while (!text.startsWith('HTTP/1.1 100')) await once(busy, 'data')
  child.kill('SIGTERM') // It is under way.
  await idleEnded // The signal has arrived.
  busy.write('1b\r\n{"item":"tea","quantity":2}\r\n0\r\n\r\n')
  await ended
  assert.match(text, /HTTP\/1.1 201 Created\r\n[^]*Connection: close\r\n[^]*"total":900/)
  assert.deepEqual(await exited, [0, null])
})

test('a body that is too large is refused', { timeout: 60_000 }, async (t) => {
  const { port } = await started(t, 'v2')
  const sent = request({ host: '127.0.0.1', port, path: '/orders', method: 'POST' })
  sent.on('error', () => {}) // The server may close before all is sent.
  sent.end('x'.repeat(70_000))
  const [answer] = await once(sent, 'response')
  assert.equal(answer.statusCode, 413)
  answer.resume()
})
