import { mkdtemp, rm } from 'node:fs/promises'
import path from 'node:path'
import { systemClock } from '../../host/clock.ts'
import { loadConfig } from '../../host/config.ts'
import { packageVersion } from '../../host/home.ts'
import { documentCodec } from '../../scim/codec.ts'
import { putBack, takeBackup, verifyBackup } from '../../store/backup.ts'
import type { DrillReport } from '../commands/drill.ts'
import { stopwatch } from '../commands/drill.ts'
import type { Terminal } from '../terminal.ts'
import { urlOf } from './backup.ts'

/** Takes a backup of the configured database, reads it, puts it back beside, and compares both. */
export async function restoreDrill(
  options: { readonly config: string | null },
  { env, cwd }: Terminal,
): Promise<DrillReport> {
  const at = systemClock.now()
  const config = await loadConfig({ file: options.config, env, cwd })
  const { steps, note } = stopwatch()
  // Beside the home: that disk has to have room for a restore.
  const directory = await mkdtemp(path.join(config.home, 'drill-'))
  try {
    const file = path.join(directory, 'backup.db')
    const manifest = await takeBackup({
      url: urlOf(config),
      file,
      now: at,
      version: packageVersion(),
      codec: documentCodec,
    })
    note('a backup is taken')
    const wrong = await verifyBackup(file, manifest)
    note('it is read and verified')
    const restored = path.join(directory, 'restored.db')
    await putBack(file, { url: `sqlite:${restored}`, now: at, codec: documentCodec })
    const differing = [...wrong, ...(await verifyBackup(restored, manifest))]
    note('it is put back beside, and compared')
    const rows = Object.values(manifest.rows).reduce((sum, n) => sum + n, 0)
    const roots = manifest.roots.map(({ tenant, size, root }) => `${tenant}: ${size} rows, ${root}`)
    const facts = { engine: manifest.engine, bytes: manifest.bytes, rows, roots, differing }
    return { drill: 'restore', at, passed: differing.length === 0, steps, facts }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
