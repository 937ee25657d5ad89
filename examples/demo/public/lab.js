// Runs a lab without leaving its page: sends the form, and shows each picture that the server draws meanwhile.
const form = document.querySelector('form[data-lab]')
const picture = document.querySelector('[data-picture]')
const outcome = document.querySelector('[data-outcome]')

form?.addEventListener('submit', async (event) => {
  event.preventDefault()
  if (form.dataset.lab === 'running') return
  const body = new URLSearchParams(new FormData(form, event.submitter))
  setRunning(event.submitter)
  try {
    const reply = await fetch(form.action, { method: 'POST', body, headers: { accept: 'text/event-stream' } })
    if (!reply.ok || !reply.headers.get('content-type')?.startsWith('text/event-stream')) throw new Error()
    await readEvents(reply.body.pipeThrough(new TextDecoderStream()))
  } catch {
    outcome.textContent = 'The demo cannot be reached. Try again.'
  }
  setRunning(undefined)
})

// Disabled buttons lose the focus; these stay where the keyboard is.
function setRunning(submitter) {
  form.dataset.lab = submitter ? 'running' : ''
  picture.setAttribute('aria-busy', String(submitter !== undefined))
  if (submitter) outcome.textContent = 'Running…'
  for (const button of form.querySelectorAll('button')) {
    button.setAttribute('aria-disabled', String(submitter !== undefined))
    if (submitter) button.toggleAttribute('data-chosen', button === submitter)
  }
}

async function readEvents(stream) {
  let text = ''
  for await (const piece of chunks(stream)) {
    const events = (text + piece).split('\n\n')
    text = events.pop()
    for (const event of events) show(event)
  }
}

// Not every browser iterates over a stream.
async function* chunks(stream) {
  const reader = stream.getReader()
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) yield piece.value
}

function show(event) {
  const [first, ...lines] = event.split('\n')
  const data = lines.map((line) => line.slice('data: '.length)).join('\n')
  if (first === 'event: picture') picture.innerHTML = data
  if (first === 'event: outcome') outcome.textContent = data
}
