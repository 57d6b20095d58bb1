import { readFile, stat } from 'node:fs/promises'
import { isProof, type ProofVerdict } from '../../domain/audit-proof.ts'
import type { VerifierKey } from '../../domain/checkpoint.ts'
import type { Json } from '../../domain/json.ts'
import { visible } from '../../host/visible.ts'
import { printJson } from '../command.ts'
import { type ExitCode, exitCodes, type Terminal } from '../terminal.ts'

/** A row is some kilobytes and a path a few more: what is longer is an export, to be read by line. */
const proofBytesMax = 1_048_576

/** The proof of one entry that a file holds; null when it holds something else. */
export async function readProof(file: string): Promise<Json | null> {
  if ((await stat(file)).size > proofBytesMax) return null
  const text = await readFile(file, 'utf8')
  try {
    const value = JSON.parse(text) as Json
    return isProof(value) ? value : null
  } catch {
    return null
  }
}

export function reportProof(
  verdict: ProofVerdict,
  key: VerifierKey,
  { json, source }: { readonly json: boolean; readonly source: string },
  terminal: Terminal,
): ExitCode {
  if (json) printJson(verdict, terminal)
  if (!verdict.ok) {
    terminal.stderr(`NOT AS IT WAS SIGNED: ${visible(verdict.reason)}.\n`)
    return exitCodes.integrity
  }
  const { place, row, checkpoint } = verdict
  if (!json) {
    const { at, action, targetType, target, actor } = row
    const what = `${at}  ${action}  ${targetType} ${target}  by ${actor.name}`
    terminal.stdout(`${visible(`entry ${place} verified: ${what}`)}\n`)
  }
  terminal.stderr(
    `Log ${key.name}, entry ${place} of ${checkpoint.size}, root ${checkpoint.root}, key ${key.name}+${key.id} from ${visible(source)}.\n`,
  )
  return exitCodes.ok
}
