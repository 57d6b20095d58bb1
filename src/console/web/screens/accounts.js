import { acts, accountPage, routeOf, wantedOf } from '../lib/accounts.js'
import { useList } from '../lib/data.js'
import { csv, download } from '../lib/files.js'
import { count, number } from '../lib/format.js'
import { html, useLayoutEffect, useRef, useState } from '../lib/html.js'
import { link, setQuery } from '../lib/router.js'
import { mayAct, mayLook, session } from '../lib/session.js'
import { useSignal } from '../lib/signal.js'
import { Bulk } from '../parts/bulk.js'
import { FilterBox } from '../parts/filter.js'
import { OwnerName } from '../parts/find-person.js'
import { notify } from '../parts/notices.js'
import { Page } from '../parts/page.js'
import { Empty, Problem, Shown } from '../parts/states.js'
import { Status } from '../parts/status.js'
import { More, Table, usePicked } from '../parts/table.js'
import { Text, When } from '../parts/text.js'
import { SavedViews } from '../parts/saved-views.js'

const pageSize = 100
const exportMax = 50_000

/** Service accounts: find, look at, and do something to many. @param {{ place: import('../lib/router.js').Place }} props */
export function AccountsScreen({ place }) {
  const wanted = wantedOf(place.query)
  const route = routeOf(wanted)
  const list = useList(route, {
    concerns: (c) => c.subject.type === 'account',
    limit: pageSize,
    page: accountPage,
  })
  const rows = list.items ?? []
  const picked = usePicked(rows, (r) => r.id)
  // What is picked is what is seen: another list begins with nothing.
  useLayoutEffect(() => picked.none(), [route])
  const [act, setAct] = useState(/** @type {import('../lib/accounts.js').Act | null} */ (null))
  return html`<${Page}
    title="Accounts"
    lead="Service accounts with their owner and their end date."
    actions=${html`<${Export} route=${route} />`}
  >
    <div>
      <${FilterBox} text=${wanted.filter || wanted.q} />
      <${Chips} wanted=${wanted} />
      <${SavedViews} />
    </div>
    ${
      picked.size > 0
        ? html`<div class="row picked" role="group" aria-label="With those picked">
            <strong>${count(picked.size, 'account')} picked</strong>
            ${Object.entries(acts).map(
              ([name, { title, isDestructive }]) =>
                html`<button
                  type="button"
                  class="small-button ${isDestructive ? 'danger' : ''}"
                  onClick=${() => setAct(/** @type {any} */ (name))}
                >
                  ${title}…
                </button>`,
            )}
            <button type="button" class="plain" onClick=${picked.none}>Pick none</button>
          </div>`
        : null
    }
    <${Shown} read=${list} what="Reading accounts">
      ${() =>
        rows.length === 0
          ? html`<${Empty}
              title=${isNarrowed(wanted) ? 'No account is like that.' : mayLook() ? 'No service accounts yet.' : 'No account is yours.'}
            >
              ${
                isNarrowed(wanted)
                  ? html`<button type="button" onClick=${() => setQuery(nothing)}>Show all</button>`
                  : mayLook()
                    ? html`Request one: <code>custody account request</code>.`
                    : 'This shows accounts that you own or asked for. A client owns what its person owns: whoever made it names one with --person.'
              }
            <//>`
          : html`<${Table}
                caption="Accounts"
                rows=${rows}
                keyOf=${(/** @type {any} */ r) => r.id}
                hrefOf=${(/** @type {any} */ r) => link(['account', r.id])}
                picked=${mayAct() ? picked : undefined}
                columns=${columns}
              />
              <${More} list=${list} shown=${number(rows.length)} what="accounts" />`}
    <//>
    ${
      act
        ? html`<${Bulk}
            act=${act}
            rows=${rows.filter((r) => picked.has(r.id))}
            onClose=${() => {
              setAct(null)
              picked.none()
            }}
            onDone=${list.reload}
          />`
        : null
    }
  <//>`
}

const nothing = {
  filter: null,
  q: null,
  status: null,
  owner: null,
  expiresBefore: null,
  expiresAfter: null,
}

/** @param {import('../lib/accounts.js').Wanted} wanted */
function isNarrowed(wanted) {
  return Object.values(wanted).some((value) => value !== '')
}

/** @type {readonly import('../parts/table.js').Column[]} */
const columns = [
  {
    title: 'Account',
    isMain: true,
    show: (r) => html`<${Text} value=${r.userName} />`,
    value: (r) => r.userName,
  },
  { title: 'Status', show: (r) => html`<${Status} value=${r.status} />`, value: (r) => r.status },
  {
    title: 'Owner',
    show: (r) => html`<${OwnerName} owner=${r.owner} />`,
    value: (r) => r.owner?.id ?? null,
  },
  {
    title: 'Environment',
    show: (r) => html`<${Text} value=${r.environment} />`,
    value: (r) => r.environment,
  },
  {
    title: 'Ends',
    show: (r) => html`<${When} at=${r.expiresAt} none="never" />`,
    value: (r) => r.expiresAt,
  },
  {
    title: 'Purpose',
    className: 'why',
    show: (r) => html`<${Text} value=${r.purpose} />`,
    value: (r) => r.purpose,
  },
  {
    title: 'Changed',
    show: (r) => html`<${When} at=${r.updatedAt} />`,
    value: (r) => r.updatedAt,
  },
]

/** What is asked for often, one press away. @param {{ wanted: import('../lib/accounts.js').Wanted }} props */
function Chips({ wanted }) {
  const who = useSignal(session)
  /** @type {readonly [string, Readonly<Record<string, string>>][]} */
  const chips = [
    ['All', {}],
    ['Active', { status: 'active' }],
    ['Orphaned', { status: 'orphaned' }],
    ['Disabled', { status: 'disabled' }],
    ['Failed', { status: 'failed' }],
    ['Ends within 30 days', { expiresAfter: '+0d', expiresBefore: '+30d' }],
    ...(who?.client.person
      ? [/** @type {[string, Record<string, string>]} */ (['Mine', { owner: who.client.person }])]
      : []),
  ]
  return html`<div class="row chips" role="group" aria-label="Often asked for">
    ${chips.map(([title, query]) => {
      const isOn = Object.entries({ ...wanted }).every(
        ([name, value]) => value === (query[name] ?? ''),
      )
      return html`<button
        type="button"
        class="chip"
        aria-pressed=${isOn}
        onClick=${() => setQuery({ ...nothing, ...query })}
      >
        ${title}
      </button>`
    })}
    ${wanted.owner ? html`<span>owned by <${OwnerName} owner=${{ id: wanted.owner }} /></span>` : null}
  </div>`
}

/** All that matches, as a file; page after page, and it can be stopped. @param {{ route: string }} props */
function Export({ route }) {
  const [isBusy, setBusy] = useState(false)
  const [got, setGot] = useState(0)
  const [error, setError] = useState(/** @type {Error | null} */ (null))
  const ending = useRef(/** @type {AbortController | null} */ (null))
  const run = async (/** @type {'csv' | 'json'} */ kind) => {
    ending.current = new AbortController()
    setBusy(true)
    setError(null)
    setGot(0)
    try {
      /** @type {any[]} */
      const rows = []
      let cursor = /** @type {string | null} */ (null)
      do {
        const page = await accountPage(route, cursor, 200, ending.current.signal)
        rows.push(...page.items)
        cursor = page.cursor
        setGot(rows.length)
      } while (cursor !== null && rows.length < exportMax)
      const fields = [{ title: 'Id', value: (/** @type {any} */ r) => r.id }, ...columns].map(
        (c) => ({
          title: c.title,
          value: c.value ?? (() => null),
        }),
      )
      if (kind === 'csv') download('accounts.csv', 'text/csv', csv(fields, rows))
      else download('accounts.json', 'application/json', `${JSON.stringify(rows, null, 2)}\n`)
      if (cursor !== null)
        notify(
          `The file holds the first ${number(exportMax)}; narrow the list for the rest.`,
          'bad',
        )
    } catch (caught) {
      if (!ending.current.signal.aborted) setError(/** @type {Error} */ (caught))
    }
    setBusy(false)
  }
  if (error) return html`<${Problem} error=${error} again=${() => setError(null)} />`
  if (isBusy) {
    return html`<span role="status">${number(got)} read…</span>
      <button type="button" onClick=${() => ending.current?.abort()}>Stop</button>`
  }
  return html`<button type="button" onClick=${() => void run('csv')}>Export CSV</button>
    <button type="button" onClick=${() => void run('json')}>Export JSON</button>`
}
