// A page that is read from a folder may start no worker. The search is one: there it runs in a
// hidden frame, whose window takes and gives messages as a worker does.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      const inner = frame.contentWindow
      inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }))
      const script = inner.document.createElement("script")
      script.src = address
      this.ready = new Promise((done) => script.addEventListener("load", () => done(inner)))
      inner.document.body.append(script)
    }

    async postMessage(data) {
      const inner = await this.ready
      inner.dispatchEvent(new inner.MessageEvent("message", { data }))
    }
  }
}
