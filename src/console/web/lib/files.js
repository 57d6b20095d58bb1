/**
 * Rows as CSV (RFC 4180). A cell that a spreadsheet would take for a formula begins with an
 * apostrophe, which spreadsheets show as text (https://owasp.org/www-community/attacks/CSV_Injection).
 * @param {readonly { title: string, value: (row: any) => unknown }[]} columns
 * @param {readonly any[]} rows
 */
export function csv(columns, rows) {
  const lines = [columns.map((c) => c.title), ...rows.map((r) => columns.map((c) => c.value(r)))]
  return lines.map((line) => `${line.map(cell).join(',')}\r\n`).join('')
}

/** @param {unknown} value */
function cell(value) {
  const text =
    value === null || value === undefined
      ? ''
      : typeof value === 'string'
        ? value
        : JSON.stringify(value)
  const safe = /^[=+\-@\t\r\n|%]/.test(text) && typeof value !== 'number' ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/**
 * Hands a text to the browser as a file.
 * @param {string} name
 * @param {string} type
 * @param {string} text
 */
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }))
  const anchor = document.createElement('a')
  anchor.href = url
  anchor.download = name
  document.body.append(anchor)
  anchor.click()
  anchor.remove()
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}
