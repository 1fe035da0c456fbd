// Holds a journal open until it is told to end.
import { Engine } from '../../dist/index.js'

const engine = await Engine.open(process.argv[2])
console.log('open')
process.stdin.resume()
setInterval(() => engine, 1000)
