// The npm package as it is installed: a durable pipeline, by import and by require.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'

const ways = { import: () => import('tidegate'), require: () => createRequire(import.meta.url)('tidegate') }

for (const [way, load] of Object.entries(ways)) {
  test(`a durable pipeline runs once, by ${way}`, async () => {
    const { Engine, Pipeline } = await load()
    const folder = mkdtempSync(join(tmpdir(), 'tidegate-packed-'))
    const pipeline = new Pipeline('packed')
    const text = pipeline.shell('text', `echo ran >> '${folder}/ran'; echo hello`, { output: 'text' })
    const length = pipeline.step('length', { inputs: [text] }, (_, value) => value.length)
    for (let time = 0; time < 2; time += 1) {
      const engine = await Engine.open(join(folder, 'packed.db'))
      const outcome = await engine.run(pipeline, { key: 'once' })
      assert.equal(outcome.value(length), 5)
      await engine.close()
    }
    const command = join(import.meta.dirname, 'node_modules', '.bin', 'tidegate')
    assert.match(execFileSync(command, ['-j', join(folder, 'packed.db'), 'runs'], { encoding: 'utf8' }), / succeeded /)
    assert.equal(readFileSync(join(folder, 'ran'), 'utf8'), 'ran\n')
    rmSync(folder, { recursive: true })
  })
}
