// The production build of a Next.js app, served with the page's code.
import { createApp } from './page.ts'

const { PORT = '' } = process.env
const app = await createApp(import.meta.dirname)
app.listen(Number(PORT), '127.0.0.1', () => console.log(`Listening on http://127.0.0.1:${PORT}`))
