// Custody in all its roles, as `custody serve` runs it, on a home that is there already.
//   node whole.ts <home> [url of another database]
import { loadConfig } from '../src/host/config.ts'
import { createLog } from '../src/host/log.ts'
import { checkConfig, startCustody } from '../src/main.ts'

const [home, url] = process.argv.slice(2) as [string, string?]
const env = {
  CUSTODY_HOME: home,
  CUSTODY_LISTEN: '127.0.0.1:0',
  ...(url === undefined ? {} : { CUSTODY_STORE_URL: url }),
}
const config = await loadConfig({ env, cwd: home }, checkConfig)
const log = createLog({ level: 'info', write: () => undefined })
const custody = await startCustody({ config, log })
process.once('SIGTERM', () => void custody.close().then(() => process.exit(0)))
process.stdout.write(`listening ${custody.url}\n`)
