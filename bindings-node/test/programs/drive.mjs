// Drives a run that hangs until somebody cancels it, and says how it ended.
import { join } from 'node:path'
import { Engine, Pipeline } from '../../dist/index.js'

const p = new Pipeline('release')
const before = p.command('before', ['true'])
p.command('hangs', ['sleep', '600'], { after: [before] })
const engine = await Engine.open(join(process.argv[2], 'release.db'))
console.log((await engine.run(p, { key: 'k' })).status)
await engine.close()
