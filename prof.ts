import { simulate } from './test/simulation/simulate.ts'
for (let s = 1; s <= 3; s++) await simulate(s)
const c = process.cpuUsage()
const t = performance.now()
let ev = 0
for (let s = 11; s <= 20; s++) {
  const o = await simulate(s)
  ev += o.events
}
const d = process.cpuUsage(c)
console.log(
  'per seed wall',
  (performance.now() - t) / 10,
  'cpu',
  (d.user + d.system) / 1e4,
  'events',
  ev / 10,
)
