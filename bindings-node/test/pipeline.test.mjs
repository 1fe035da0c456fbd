// Steps: values, functions, failures, and what is refused.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import test from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { blueGreen, Engine, PermanentError, Pipeline, TidegateError } from '../dist/index.js'
import { all, engine, folder, lines } from './help.mjs'

test('values go from step to step as the journal holds them', async (t) => {
  const { engine: e } = await engine(t)
  const p = new Pipeline('p')
  const text = p.shell('text', 'echo hello', { output: 'text' })
  const json = p.command('json', ['echo', '{"n": 3}'], { output: 'json' })
  const sync = p.step('sync', { inputs: [text, json] }, (_, a, b) => ({ a, n: b.n, when: new Date(0) }))
  const async_ = p.step('async', { inputs: [sync, text] }, async (ctx, value, a) => {
    await sleep(1)
    return [ctx.step, ctx.attempt, ctx.params.x, value.when, a]
  })
  const nothing = p.step('nothing', { inputs: [async_] }, () => {})
  const outcome = (await e.run(p, { params: { x: 1 } })).ok()
  assert.equal(outcome.value(text), 'hello')
  assert.deepEqual(outcome.value(sync), { a: 'hello', n: 3, when: '1970-01-01T00:00:00.000Z' })
  assert.deepEqual(outcome.value(async_), ['async', 1, 1, '1970-01-01T00:00:00.000Z', 'hello'])
  assert.equal(outcome.value(nothing), null)
})

test('what JSON would change fails the step that returned it, with its place', async (t) => {
  const { engine: e } = await engine(t)
  const loop = {}
  loop.self = loop
  const cases = {
    nan: [{ a: [1, Number.NaN] }, /not finite: NaN, at \/a\/1/],
    infinity: [-Infinity, /not finite: -Infinity$/],
    integer: [{ 'b/c': 2 ** 53 }, /beyond 2\^53 - 1: 9007199254740992 .*, at \/b~1c/],
    undefined: [{ a: { b: undefined } }, /undefined, at \/a\/b/],
    hole: [[1, , 3], /undefined, at \/1/],
    function: [{ f() {} }, /function, at \/f/],
    bigint: [{ n: 1n }, /bigint: 1 .*, at \/n/],
    map: [{ m: new Map([[1, 2]]) }, /Map, at \/m/],
    promise: [{ p: Promise.resolve(1) }, /promise .*await.*, at \/p/],
    bytes: [new Uint8Array(2), /bytes/],
    loop: [loop, /nested too deep, or holds itself/],
    surrogate: [{ a: 'half \ud83d' }, /not Unicode: "half \\ud83d", at \/a/],
    field: [{ a: { '\udc00': 1 } }, /name is not Unicode: "\\udc00", at \/a/],
  }
  const p = new Pipeline('p')
  for (const [name, [value]] of Object.entries(cases)) {
    p.step(name, () => value)
  }
  p.step('large', () => 1e300)
  p.step('safe', () => [Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER, -0, 0.1])
  p.step('too long', () => 'x'.repeat(1 << 20))
  const run = await e.start(p)
  const events = await all(run)
  const outcome = await run.outcome()
  for (const [name, [, reason]] of Object.entries(cases)) {
    assert.equal(outcome.steps[name].status, 'failed', name)
    assert.match(outcome.steps[name].reason, reason, name)
    const finished = events.find((event) => event.kind === 'step_finished' && event.step === name)
    assert.equal(finished.result.error.cause.kind, 'bad_value', name)
  }
  assert.match(outcome.steps['too long'].reason, /too large/)
  assert.equal(outcome.steps.large.value, 1e300)
  assert.deepEqual(outcome.steps.safe.value, [Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER, 0, 0.1])
  await assert.rejects(e.start(p, { params: { n: NaN } }), /params holds a number that is not finite: NaN, at \/n/)
})

test('an exception fails its step, with its stack, and nothing else', async (t) => {
  const { engine: e } = await engine(t)
  const p = new Pipeline('p')
  p.step('sync', function thrower() {
    throw new RangeError('out of cheese', { cause: new Error('no mouse') })
  })
  p.step('async', async () => {
    await sleep(1)
    throw new TypeError('later')
  })
  p.step('surrogate', () => {
    throw new Error('half \ud83d')
  })
  p.step('long', () => {
    throw new Error(`${'x'.repeat(16_376)}😀`)
  })
  p.step('text', () => {
    throw 'just a text'
  })
  p.step('getter', () => ({
    get value() {
      throw new Error('in a getter')
    },
  }))
  const cruel = new Error('cruel')
  Object.defineProperty(cruel, 'message', {
    get() {
      throw new Error('not even that')
    },
  })
  p.step('cruel', () => {
    throw cruel
  })
  p.step('fine', () => 'fine')
  const { status, steps } = await e.run(p)
  assert.equal(status, 'failed')
  assert.equal(steps.sync.reason, 'RangeError: out of cheese')
  assert.match(steps.sync.detail, /thrower .*pipeline\.test\.mjs/)
  assert.match(steps.sync.detail, /no mouse/)
  assert.equal(steps.async.reason, 'TypeError: later')
  assert.equal(steps.surrogate.reason, 'Error: half \ufffd')
  assert.equal(steps.long.status, 'failed')
  assert.match(steps.long.reason, /^Error: x+/)
  assert.equal(steps.text.reason, "threw 'just a text'")
  assert.equal(steps.getter.reason, 'Error: in a getter')
  assert.equal(steps.cruel.status, 'failed')
  assert.equal(steps.fine.value, 'fine')
})

test('failed attempts are repeated, permanent ones are not', async (t) => {
  const { engine: e } = await engine(t)
  const p = new Pipeline('p')
  const keys = new Set()
  const tokens = []
  p.step('third time', { retry: { attempts: 3, initial: 1, jitter: 'none' } }, (ctx) => {
    keys.add(ctx.idempotencyKey)
    tokens.push(ctx.token)
    if (ctx.attempt < 3) {
      throw new Error(`attempt ${ctx.attempt}`)
    }
    return ctx.attempt
  })
  p.step('permanent', { retry: 5 }, () => {
    throw new PermanentError('never')
  })
  const run = await e.start(p)
  const events = await all(run)
  const { steps } = await run.outcome()
  assert.equal(steps['third time'].value, 3)
  assert.equal(keys.size, 1)
  assert.ok(tokens[0] < tokens[1] && tokens[1] < tokens[2], `${tokens}`)
  assert.equal(steps.permanent.attempts, 1)
  const retries = events.filter((event) => event.kind === 'step_retrying')
  assert.deepEqual(
    retries.map((event) => [event.attempt, event.why.message]),
    [
      [1, 'Error: attempt 1'],
      [2, 'Error: attempt 2'],
    ],
  )
  for (const event of retries) {
    assert.ok(event.nextAttemptAt instanceof Date && event.at instanceof Date && event.nextAttemptAt >= event.at)
  }
})

test('a step that takes too long is stopped through its signal', async (t) => {
  const { engine: e } = await engine(t)
  const p = new Pipeline('p')
  let stopped = false
  p.step('slow', { timeout: 50 }, (ctx) => {
    return new Promise((_, reject) => {
      ctx.signal.addEventListener('abort', () => {
        stopped = true
        reject(ctx.signal.reason)
      })
    })
  })
  p.command('sleeper', ['sleep', '1000'], { timeout: '50ms', grace: '1s' })
  const { status, steps } = await e.run(p)
  assert.equal(status, 'failed')
  assert.ok(stopped)
  assert.match(steps.slow.reason, /took longer than its timeout/)
  assert.match(steps.sleeper.reason, /took longer than its timeout/)
})

test('cleanup runs after failures, and after a failed step of its own kind', async (t) => {
  const { engine: e } = await engine(t)
  const p = new Pipeline('p')
  const bad = p.command('bad', ['false'])
  p.step('skipped', { after: [bad] }, () => assert.fail('must not run'))
  p.step('on failure', { after: [{ step: bad, when: 'failure' }] }, () => 'told')
  p.step('sweep', { cleanup: true }, () => 'swept')
  const { status, steps } = await e.run(p)
  assert.equal(status, 'failed')
  assert.equal(steps.skipped.status, 'skipped')
  assert.equal(steps['on failure'].value, 'told')
  assert.equal(steps.sweep.value, 'swept')
})

test('every fault of a definition comes in one error', async (t) => {
  const { engine: e } = await engine(t)
  const p = new Pipeline('p')
  p.command('a', [])
  p.command('a', ['true'], { after: ['nowhere'], timeout: 'soon' })
  p.command('b', ['true'], { retry: 0, deadline: -5 })
  const shop = blueGreen('shop', { serve: { listen: '127.0.0.1:80', replicas: 1001 }, keepOld: '0s' })
  p.rollout('ship', shop, { release: { version: 'v1\n', command: ['./shop'], env: { PORT: '80' } } })
  await assert.rejects(e.run(p), (error) => {
    assert.ok(error instanceof TidegateError)
    assert.equal(error.kind, 'invalid')
    assert.equal(error.code, 'TIDEGATE_INVALID')
    const places = error.faults.map((fault) => fault.pointer)
    assert.ok(places.length >= 5, places.join())
    assert.ok(places.includes('/steps/1/timeout') && places.includes('/steps/2/deadline'), places.join())
    const shipped = places.filter((place) => place.startsWith('/steps/3/action')).map((place) => place.slice('/steps/3/action/'.length))
    assert.deepEqual(shipped, ['rollout/serve/replicas', 'release/version', 'release/env/PORT'])
    assert.match(error.message, /nowhere/)
    assert.match(error.stack, /pipeline\.test\.mjs/)
    return true
  })
})

test('an option that the core does not know is named', async (t) => {
  const { engine: e } = await engine(t)
  const p = new Pipeline('p')
  p.command('a', ['true'], { retry: { attempts: 2, inital: '1s' } })
  await assert.rejects(e.run(p), /inital/)
})

test('secrets reach commands and nothing that is kept', async (t) => {
  const { engine: e, dir } = await engine(t, { secrets: { token: 'hunter2-hunter2-hunter2' } })
  const { secret } = await import('../dist/index.js')
  const p = new Pipeline('p')
  const length = p.shell('use', 'printf %s ${#TOKEN}', { env: { TOKEN: secret('token'), my_Var: 'kept as it is' }, output: 'text' })
  const other = p.shell('other', 'printf %s "$my_Var"', { env: { my_Var: 'kept as it is' }, output: 'text' })
  const leak = { allowFailure: true, retry: { attempts: 3, initial: '1ms' } }
  p.step('leak', leak, () => ({ said: 'it is hunter2-hunter2-hunter2' }))
  p.step('throw', { allowFailure: true }, () => {
    throw new Error('hunter2-hunter2-hunter2')
  })
  const run = await e.start(p)
  const events = JSON.stringify(await all(run))
  assert.ok(!events.includes('hunter2'), events)
  const outcome = (await run.outcome()).ok()
  assert.equal(outcome.value(length), '23')
  assert.equal(outcome.value(other), 'kept as it is')
  const { attempts, reason } = outcome.steps.leak
  assert.deepEqual([attempts, reason], [1, 'its value holds a secret, and values are recorded'])

  const q = new Pipeline('q')
  q.command('login', ['login', 'hunter2-hunter2-hunter2'], { env: { URL: 'x://hunter2-hunter2-hunter2@y' } })
  await assert.rejects(e.run(q, { key: 'hunter2-hunter2-hunter2', params: ['hunter2-hunter2-hunter2'] }), (error) => {
    const places = error.faults.map((fault) => fault.pointer)
    assert.deepEqual(places, ['/key', '/params', '/steps/0/action/argv', '/steps/0/action/env/URL'])
    assert.equal(error.kind, 'invalid')
    assert.ok(!String(error).includes('hunter2'), String(error))
    return true
  })
  await e.close()
  const { readdirSync, readFileSync, statSync } = await import('node:fs')
  const files = readdirSync(dir, { recursive: true }).map((name) => join(dir, name))
  assert.ok(files.length > 0)
  for (const file of files.filter((name) => statSync(name).isFile())) {
    assert.ok(!readFileSync(file).includes('hunter2-hunter2'), file)
  }
})

test('rerunFailed leaves a run that succeeded as it is', async (t) => {
  const { engine: e, dir } = await engine(t)
  const p = new Pipeline('p')
  const lint = p.shell('lint', `echo lint >> '${dir}/ran'; exit 1`, { allowFailure: true })
  p.shell('deploy', `echo deploy >> '${dir}/ran'`, { after: [lint] })
  const first = await e.run(p, { key: 'k' })
  assert.equal(first.status, 'succeeded')
  assert.deepEqual((await e.run(p, { key: 'k', rerunFailed: true })).steps, first.steps)
  const { readFileSync } = await import('node:fs')
  assert.equal(readFileSync(join(dir, 'ran'), 'utf8'), 'lint\ndeploy\n')
})

test('a missing secret fails the step', async (t) => {
  const { engine: e } = await engine(t)
  const { secret } = await import('../dist/index.js')
  const p = new Pipeline('p')
  p.command('a', ['true'], { env: { A: secret('unknown') } })
  const { steps } = await e.run(p)
  assert.match(steps.a.reason, /no secret "unknown"/)
})

test('two engines drive two journals in one process', async (t) => {
  const dir = folder(t)
  const engines = await Promise.all([1, 2].map((n) => Engine.open(join(dir, `${n}.db`), { durability: 'relaxed' })))
  const p = new Pipeline('p')
  p.shell('a', `echo ran >> ${join(dir, 'ran')}`)
  await Promise.all(engines.map((e) => e.run(p, { key: 'k' })))
  assert.equal(lines(join(dir, 'ran')).length, 2)
  await Promise.all(engines.map((e) => e[Symbol.asyncDispose]()))
  await engines[0].close()
  await assert.rejects(engines[0].run(p), (error) => error.kind === 'cancelled' && /closed/.test(error.message))
})

test('nothing is lost of many events, in order, by several readers', async (t) => {
  const { engine: e } = await engine(t)
  const p = new Pipeline('p')
  for (let i = 0; i < 300; i += 1) {
    p.step(`s${i}`, () => i)
  }
  const run = await e.start(p)
  const [one, other] = await Promise.all([all(run), all(run)])
  const late = await all(run)
  assert.deepEqual(one, other)
  assert.deepEqual(one, late)
  assert.deepEqual(
    one.map((event) => event.seq),
    one.map((_, i) => i + 1),
  )
  assert.equal(one.filter((event) => event.kind === 'step_finished').length, 300)
  assert.equal(one.at(-1).kind, 'run_finished')
})

test('a run reads as lines', async (t) => {
  const { engine: e } = await engine(t)
  const p = new Pipeline('p')
  p.shell('greet', 'echo hello')
  const run = await e.start(p)
  const text = (await all(run.lines())).join('\n')
  assert.match(text, /greet/)
})

test('the event loop is never blocked', async (t) => {
  const { engine: e } = await engine(t)
  const p = new Pipeline('p')
  p.command('a', ['sleep', '1'])
  let ticks = 0
  let longest = 0
  let last = performance.now()
  const timer = setInterval(() => {
    ticks += 1
    longest = Math.max(longest, performance.now() - last)
    last = performance.now()
  }, 5)
  const outcome = await e.run(p)
  clearInterval(timer)
  assert.ok(outcome.succeeded)
  assert.ok(ticks > 20, `${ticks} ticks`)
  assert.ok(longest < 500, `${longest} ms without a tick`)
})

test('an attempt begins when the one before it has ended', async (t) => {
  const { engine: e } = await engine(t)
  let [together, most, goOn] = [0, 0]
  const released = new Promise((resolve) => (goOn = resolve))
  const p = new Pipeline('p')
  const deaf = p.step('deaf', { timeout: '2s', retry: { attempts: 9 } }, async ({ attempt }) => {
    together += 1
    most = Math.max(most, together)
    if (attempt === 1) await released
    together -= 1
    return attempt
  })
  const run = await e.start(p)
  for await (const event of run) {
    if (event.kind === 'step_started' && event.attempt === 2) {
      await sleep(300)
      goOn()
    }
  }
  assert.ok((await run.outcome()).ok().value(deaf) > 1)
  assert.equal(most, 1, 'attempts ran together')
})
