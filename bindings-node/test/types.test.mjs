// A step of the wrong type fails tsc with one error, and passes once its one marked mistake is mended.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { tsc } from './help.mjs'

const here = import.meta.dirname
const root = join(here, '..')

for (const compiler of ['typescript', 'typescript-5.9']) {
  for (const file of readdirSync(join(here, 'types'))) {
    test(`${file} has one mistake for ${compiler}`, async () => {
      const text = readFileSync(join(here, 'types', file), 'utf8')
      const [, before, after] = /\/\/ MISTAKE: (.*) -> (.*)/.exec(text)
      const line = text.split('\n').findIndex((each) => each.includes('// MISTAKE')) + 1
      const errors = await tsc(compiler, text)
      assert.ok(errors.length > 0, 'it must not compile')
      assert.deepEqual([...new Set(errors.map((error) => Number(/\((\d+),/.exec(error)?.[1])))], [line], errors.join('\n'))
      const lines = text.split('\n')
      lines[line - 1] = lines[line - 1].split('//')[0].replace(before, after)
      assert.deepEqual(await tsc(compiler, lines.join('\n')), [])
    })
  }
}

test('the programs of the README compile', async () => {
  const readme = readFileSync(join(root, '..', 'README.md'), 'utf8')
  const programs = [...readme.matchAll(/```js\n([^]*?)```/g)].map(([, program]) => program)
  assert.ok(programs.length > 1)
  for (const program of programs) assert.deepEqual(await tsc('typescript', program), [], program)
})
