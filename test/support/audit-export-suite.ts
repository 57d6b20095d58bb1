import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { leafHash, type AuditRow } from '../../src/domain/audit.ts'
import {
  checkpointLine,
  entryLine,
  exportScheme,
  headerLine,
  type KnownTree,
  type Verdict,
  verifyExport,
} from '../../src/domain/audit-export.ts'
import { createSigner, parseVerifierKey } from '../../src/domain/checkpoint.ts'
import { defaultTenant, type TenantId } from '../../src/domain/ids.ts'
import { emptyFrontier, grow, rootOf } from '../../src/domain/merkle.ts'
import { Secret } from '../../src/domain/secret.ts'
import { makeAudit } from './entities.ts'

const signer = createSigner(Secret.of(Buffer.alloc(32, 1)))
const origin = signer.originOf(defaultTenant)
const vkey = signer.verifierKeyOf(defaultTenant)
const key = parseVerifierKey(vkey)!

const size = 12
const rows: readonly AuditRow[] = Array.from({ length: size }, (_, i) =>
  makeAudit({
    action: `thing.${i % 3}`,
    facts: { n: i, text: 'é"\n', nested: { b: [i], a: null } },
  }),
)
const frontierOf = (entries: readonly AuditRow[]) =>
  grow(emptyFrontier, entries.map(leafHash)).frontier
const note = (entries: readonly AuditRow[], by = signer): string =>
  by.sign(defaultTenant, entries.length, rootOf(frontierOf(entries)))
const anchored = (count: number): KnownTree => ({
  size: count,
  root: rootOf(frontierOf(rows.slice(0, count))),
})

/** An export with checkpoints in between, sealed anew over whatever rows it is given. */
function linesOf(entries: readonly AuditRow[], notes: ReadonlyMap<number, string>): string[] {
  const lines = [headerLine(origin, vkey)]
  for (const [seq, row] of entries.entries()) {
    lines.push(entryLine({ seq, leaf: leafHash(row), row }))
    const signed = notes.get(seq + 1)
    if (signed !== undefined) lines.push(checkpointLine(signed))
  }
  return lines
}
const checkpoints = new Map([4, 8, size].map((n) => [n, note(rows.slice(0, n))]))
const good = linesOf(rows, checkpoints)
const lineOf = (index: number): number => 1 + index + (index >= 4 ? 1 : 0) + (index >= 8 ? 1 : 0)

function verify(lines: readonly string[], known: readonly KnownTree[] = []): Verdict {
  const verifier = verifyExport(key, known)
  for (const line of lines) verifier.line(line)
  return verifier.end()
}
const spans = (verdict: Verdict, index: number): boolean =>
  !verdict.ok && verdict.index !== null && verdict.index <= index && index <= verdict.last!

const place = fc.integer({ min: 0, max: size - 1 })

/** What must be noticed of an export that was tampered with; `effort` scales the number of mutations. */
export function auditExportSuite(effort: number): void {
  describe('an export of the audit log', () => {
    it('is accepted as it was written, with every checkpoint in it', () => {
      expect(verify(good, [anchored(5), anchored(size)])).toEqual({
        ok: true,
        checkpoint: { origin, size, root: anchored(size).root },
        checkpoints: 3,
      })
    })

    it('is refused with any character of any entry changed, and the entry is named', () => {
      fc.assert(
        fc.property(place, fc.nat(), fc.integer({ min: 1, max: 127 }), (index, at, by) => {
          const line = good[lineOf(index)]!
          const i = at % line.length
          const flipped = String.fromCharCode(line.charCodeAt(i) ^ by)
          const bent = line.slice(0, i) + flipped + line.slice(i + 1)
          const verdict = verify(good.with(lineOf(index), bent))

          expect(verdict).toMatchObject({ ok: false, index })
        }),
        { numRuns: 1_500 * effort },
      )
    })

    it('is refused with any character of its header or a checkpoint changed, and the line is named', () => {
      const others = good.flatMap((line, i) => (line.startsWith('{"leaf"') ? [] : [i]))
      fc.assert(
        fc.property(
          fc.constantFrom(...others),
          fc.nat(),
          fc.integer({ min: 1, max: 127 }),
          (n, at, by) => {
            const line = good[n]!
            const i = at % line.length
            const bent =
              line.slice(0, i) + String.fromCharCode(line.charCodeAt(i) ^ by) + line.slice(i + 1)
            const verdict = verify(good.with(n, bent))

            expect(verdict).toMatchObject({ ok: false, line: n + 1 })
          },
        ),
        { numRuns: 500 * effort },
      )
    })

    it('is refused with an entry deleted, repeated or put elsewhere, and the first wrong place is named', () => {
      fc.assert(
        fc.property(place, place, fc.constantFrom('delete', 'repeat', 'swap'), (a, b, how) => {
          fc.pre(how !== 'swap' || a !== b)
          const lines = [...good]
          if (how === 'delete') lines.splice(lineOf(a), 1)
          else if (how === 'repeat') lines.splice(lineOf(a), 0, good[lineOf(a)]!)
          else {
            lines[lineOf(a)] = good[lineOf(b)]!
            lines[lineOf(b)] = good[lineOf(a)]!
          }
          const first = how === 'swap' ? Math.min(a, b) : how === 'repeat' ? a + 1 : a
          const verdict = verify(lines)

          expect(verdict.ok).toBe(false)
          // A checkpoint may stand where the entry is missed: then it knows that one is.
          expect(spans(verdict, first)).toBe(true)
        }),
        { numRuns: 300 * effort },
      )
    })

    it('is refused when rows are changed, inserted, deleted or moved and all leaves made anew', () => {
      fc.assert(
        fc.property(
          place,
          place,
          fc.constantFrom('change', 'insert', 'delete', 'move'),
          (a, b, how) => {
            fc.pre(how !== 'move' || a !== b)
            const forged = [...rows]
            if (how === 'change') forged[a] = { ...rows[a]!, target: 'another' }
            if (how === 'insert') forged.splice(a, 0, makeAudit())
            if (how === 'delete') forged.splice(a, 1)
            if (how === 'move') forged.splice(b, 0, ...forged.splice(a, 1))
            const lines = linesOf(forged, checkpoints)
            const final = checkpointLine(checkpoints.get(size)!)
            const verdict = verify(lines.includes(final) ? lines : [...lines, final])

            expect(verdict.ok).toBe(false)
            // Only roots are signed: the first wrong entry lies between two of them.
            expect(spans(verdict, how === 'move' ? Math.min(a, b) : a)).toBe(true)
          },
        ),
        { numRuns: 300 * effort },
      )
    })

    it('is refused when it was signed anew with another key', () => {
      const thief = createSigner(Secret.of(Buffer.alloc(32, 2)))
      const forged = rows.with(3, { ...rows[3]!, action: 'nothing.happened' })
      const renamed = note(forged, thief).replaceAll(thief.originOf(defaultTenant), origin)
      for (const signed of [note(forged, thief), renamed]) {
        expect(verify(linesOf(forged, new Map([[size, signed]])))).toMatchObject({ ok: false })
      }
    })

    it.each([1, 5, 8, 11])(
      'is refused when cut after %i entries, by checkpoint or anchor',
      (count) => {
        const cut = good.slice(0, lineOf(count - 1) + 1)
        const resealed = linesOf(
          rows.slice(0, count),
          new Map([[count, note(rows.slice(0, count))]]),
        )

        expect(verify(cut)).toMatchObject({ ok: false })
        // A genuine older checkpoint over a genuine older log: only what was seen since can tell.
        expect(verify(resealed)).toMatchObject({ ok: true })
        expect(verify(resealed, [anchored(size)])).toMatchObject({
          ok: false,
          index: count,
          last: size - 1,
        })
      },
    )

    it('is refused when the log was rewritten under the same key, by what was anchored before', () => {
      const forged = rows.with(5, { ...rows[5]!, action: 'nothing.happened' })
      const resealed = linesOf(forged, new Map([[size, note(forged)]]))

      expect(verify(resealed)).toMatchObject({ ok: true })
      expect(spans(verify(resealed, [anchored(7)]), 5)).toBe(true)
    })

    it.each([
      [
        'an older scheme',
        (lines: string[]) => lines.with(0, lines[0]!.replace(exportScheme, 'custody-audit/0')),
      ],
      [
        'another log',
        (lines: string[]) => lines.with(0, headerLine(signer.originOf('other'), vkey)),
      ],
      ['no header', (lines: string[]) => lines.slice(1)],
      ['nothing', () => []],
      ['only a header', (lines: string[]) => lines.slice(0, 1)],
      ['a header twice', (lines: string[]) => [lines[0]!, ...lines]],
      [
        'another tenant among its rows',
        () => {
          const mixed = rows.with(2, { ...rows[2]!, tenant: 'other' as TenantId })
          return linesOf(mixed, new Map([[size, note(mixed)]]))
        },
      ],
      ['entries behind the last checkpoint', (lines: string[]) => lines.slice(0, -1)],
      [
        'one member too many',
        (lines: string[]) => lines.with(1, lines[1]!.replace(/}$/, ',"x":1}')),
      ],
    ])('is refused with %s', (_, change) => {
      expect(verify(change([...good]))).toMatchObject({ ok: false })
    })
  })
}
