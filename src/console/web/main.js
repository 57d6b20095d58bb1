import { findSession, logIn } from './lib/api.js'
import { html, render, useEffect, useState } from './lib/html.js'
import { goLive } from './lib/live.js'
import { link, usePlace } from './lib/router.js'
import { session } from './lib/session.js'
import { useSignal } from './lib/signal.js'
import './lib/theme.js'
import { LogInScreen } from './parts/log-in.js'
import { Page } from './parts/page.js'
import { Shell, stayLoggedIn } from './parts/shell.js'
import { Empty, Loading, Problem } from './parts/states.js'
import { screens } from './screens/screens.js'

function App() {
  const who = useSignal(session)
  const [error, setError] = useState(/** @type {Error | null} */ (null))
  const find = () => {
    setError(null)
    const code = /^#login=(\S+)$/.exec(window.location.hash)?.[1]
    // Out of the address at once, and so out of the history.
    if (code)
      window.history.replaceState(null, '', window.location.pathname + window.location.search)
    const found = code ? logIn({ code }).catch(findSession) : findSession()
    found.catch((caught) => setError(caught))
  }
  useEffect(find, [])
  useEffect(() => {
    if (!who) return
    goLive()
    stayLoggedIn()
  }, [who === null || who === undefined])
  if (error)
    return html`<main id="main" class="log-in-screen">
      <h1>Custody</h1>
      <${Problem} error=${error} again=${find} />
    </main>`
  if (who === undefined) return html`<main id="main" class="log-in-screen"><${Loading} /></main>`
  if (who === null) return html`<${LogInScreen} />`
  return html`<${Shell}><${Screen} /><//>`
}

function Screen() {
  const place = usePlace()
  const found = Object.hasOwn(screens, place.screen) ? screens[place.screen] : undefined
  if (found === undefined) {
    return html`<${Page} title="No such screen">
      <${Empty} title="There is no screen at this address.">
        <a href=${link([])}>Go to the overview</a>
      <//>
    <//>`
  }
  return html`<${found} key=${`${place.screen}/${place.rest.join('/')}`} place=${place} />`
}

const root = document.getElementById('app')
if (root) {
  root.replaceChildren()
  render(html`<${App} />`, root)
}
