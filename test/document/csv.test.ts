import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CsvError, readCsv } from '../../src/document/csv.ts'

const options = { required: ['email', 'date'], optional: ['note'], others: 'refuse' } as const

function problemsOf(bytes: Buffer | string, more: Partial<Parameters<typeof readCsv>[1]> = {}) {
  try {
    readCsv(Buffer.from(bytes as string), { ...options, ...more })
  } catch (error) {
    if (error instanceof CsvError) return error.message
    throw error
  }
  return null
}

describe('a file of comma-separated values', () => {
  it('is read with quotes, line ends of either sort, blank lines, and the mark of UTF-8', () => {
    const text =
      '\uFEFFDate,"EMAIL",note\r\n2026-01-01,a@x.eu,"one, ""two""\n"\r\n\r\n2026-01-02, b@x.eu ,\n'
    expect(readCsv(Buffer.from(text), options)).toEqual({
      header: ['date', 'email', 'note'],
      rows: [
        { line: 2, cells: ['2026-01-01', 'a@x.eu', 'one, "two"'] },
        { line: 5, cells: ['2026-01-02', 'b@x.eu', ''] },
      ],
    })
  })

  it('may have other columns, whatever is in them, where the reader says so', () => {
    const text = 'phone,email,date\n+49 30 1,a@x.eu,2026-01-01'
    expect(readCsv(Buffer.from(text), { ...options, others: 'ignore' })).toEqual({
      header: ['email', 'date'],
      rows: [{ line: 2, cells: ['a@x.eu', '2026-01-01'] }],
    })
    expect(problemsOf(text)).toMatch(/line 1: names a column, the 1\. one/)
  })

  const utf16 = Buffer.from('email,date\n', 'utf16le')
  const cases: readonly (readonly [string, Buffer | string, RegExp])[] = [
    ['nothing in it', '', /line 1: the file is empty/],
    ['UTF-16 with a mark', Buffer.concat([Buffer.from([0xff, 0xfe]), utf16]), /line 1: .*UTF-16/],
    ['UTF-16 without one', utf16, /line 1: .*zero byte/],
    [
      'a letter of Latin-1',
      Buffer.concat([
        Buffer.from('email,date\na@x.eu,2026-01-01\nm'),
        Buffer.from([0xfc]),
        Buffer.from('@x.eu,\n'),
      ]),
      /line 3: is not UTF-8/,
    ],
    [
      'a formula',
      'email,date\na@x.eu,2026-01-01\n=1+1,2026-01-01',
      /line 3: column "email" starts with "="/,
    ],
    [
      'a formula behind blanks',
      'email,date\n a@x.eu,"\t@SUM"',
      /line 2: column "date" starts with "@"/,
    ],
    ['a column twice', 'email,date,Email\n', /line 1: names column "email" twice/],
    ['a column too few', 'email\n', /line 1: has no column "date"/],
    ['semicolons', 'email;date\n', /line 1: separates columns by semicolons/],
    ['a row too short', 'email,date\na@x.eu', /line 2: has 1 cells where the header has 2/],
    ['an open quote', 'email,date\n"a@x.eu,2026', /line 2: opens a quote/],
    ['text behind a quote', 'email,date\n"a"b,2026', /line 2: has text after/],
    ['a quote within', 'email,date\na"b,2026', /line 2: has a quote inside/],
    ['a control character', 'email,date\na\u0007b,2026', /line 2: .*control character/],
  ]
  it.each(cases)('is refused for %s', (_, bytes, message) => {
    expect(problemsOf(bytes)).toMatch(message)
  })

  it('is refused beyond its bounds, and names at most twenty problems', () => {
    expect(problemsOf('email,date\na,b\nc,d\n', { rowsMax: 1 })).toMatch(/more than 1 rows/)
    expect(problemsOf('email,date\n', { bytesMax: 5 })).toMatch(/at most 5/)
    expect(problemsOf(`email,date\n${'=,\n'.repeat(50)}`)!.split('\n')).toHaveLength(20)
  })

  it('gives back any cells that were written by the rule', () => {
    const cell = fc
      .string({ unit: fc.constantFrom('a', 'ü', '"', ',', ' ', '7', ';') })
      .map((s) => s.trim())
    const rows = fc.array(fc.tuple(cell, cell), { maxLength: 5 })
    fc.assert(
      fc.property(rows, fc.constantFrom('\n', '\r\n'), (wanted, eol) => {
        const quote = (s: string) => `"${s.replaceAll('"', '""')}"`
        const text = ['email,date', ...wanted.map((r) => r.map(quote).join(','))].join(eol)
        expect(readCsv(Buffer.from(text), options).rows.map((r) => r.cells)).toEqual(wanted)
      }),
      { numRuns: 50 },
    )
  })
})
