// On a phone the rooms are a strip: shows the one that this is. `scrollIntoView` would move where Tab begins.
const strip = document.querySelector('.rooms')
const here = strip.querySelector('[aria-current]')
if (here) strip.scrollLeft = here.offsetLeft - (strip.clientWidth - here.offsetWidth) / 2

// The live channel of a signed-in device: says at once when it is signed out, and reloads lists that have changed.
if (document.body.dataset.user !== undefined) {
  const events = new EventSource('live')
  events.addEventListener('ended', (event) => {
    events.close()
    document.body.append(endedDialog(JSON.parse(event.data)))
    document.querySelector('dialog.ended').showModal()
  })
  events.addEventListener('changed', () => document.dispatchEvent(new CustomEvent('sessions-changed')))
}

function endedDialog({ sentence }) {
  const dialog = Object.assign(document.createElement('dialog'), { className: 'card ended' })
  dialog.setAttribute('aria-labelledby', 'ended-title')
  const title = Object.assign(document.createElement('h2'), {
    id: 'ended-title',
    textContent: 'This device was signed out',
  })
  const text = Object.assign(document.createElement('p'), { textContent: sentence })
  const link = Object.assign(document.createElement('a'), {
    className: 'button primary',
    href: 'sign-in',
    textContent: 'Go to the sign-in page',
  })
  dialog.append(title, text, link)
  return dialog
}
