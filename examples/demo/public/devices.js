// Keeps a list of devices as it is now: when the live channel says that it has changed, and when one comes back to the tab.
async function refresh() {
  const response = await fetch(location.href)
  const list = new DOMParser().parseFromString(await response.text(), 'text/html').querySelector('#live')
  const current = document.querySelector('#live')
  if (list === null || list.innerHTML === current.innerHTML) return
  const focused = document.activeElement?.closest('form')?.getAttribute('action')
  current.replaceWith(list)
  const said = document.querySelector('#said')
  if (said)
    said.textContent = `The list has changed: ${list.querySelectorAll('#active + .devices > li').length} signed in.`
  if (focused) list.querySelector(`form[action="${CSS.escape(focused)}"] button`)?.focus()
}

document.addEventListener('sessions-changed', refresh)
window.addEventListener('focus', refresh)
