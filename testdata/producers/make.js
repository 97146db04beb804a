// Those PDFs of this folder that JavaScript libraries make; make.sh calls it.
const fs = require('fs')
const { PDFDocument, StandardFonts } = require('pdf-lib')

async function main() {
  const d = await PDFDocument.create()
  const page = d.addPage([595, 842])
  page.drawText('Order 4711', { x: 72, y: 720, font: await d.embedFont(StandardFonts.Helvetica) })
  const form = d.getForm()
  const text = form.createTextField('chairs')
  text.setText('40')
  text.addToPage(page, { x: 72, y: 640, width: 200, height: 24 })
  const box = form.createCheckBox('express')
  box.addToPage(page, { x: 72, y: 600, width: 16, height: 16 })
  box.check()
  d.addPage([842, 595])
  fs.writeFileSync('pdf-lib.pdf', await d.save())
  fs.writeFileSync('pdf-lib-table.pdf', await d.save({ useObjectStreams: false }))

  const changed = await PDFDocument.load(fs.readFileSync('fop.pdf'))
  changed.getPages()[0].drawText('Changed', { x: 72, y: 300 })
  fs.writeFileSync('pdf-lib-changed.pdf', await changed.save())

  const PDFKit = require('pdfkit')
  const k = new PDFKit({ size: 'A4' })
  const done = new Promise(r => k.pipe(fs.createWriteStream('pdfkit.pdf')).on('finish', r))
  k.fontSize(20).text('Order 4711').addPage().text('Annex').end()
  await done

  const { jsPDF } = require('jspdf')
  const j = new jsPDF()
  j.text('Order 4711', 20, 30)
  j.addPage()
  j.text('Annex', 20, 30)
  fs.writeFileSync('jspdf.pdf', Buffer.from(j.output('arraybuffer')))
}
main()
