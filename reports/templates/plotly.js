"use strict";
// Unpacks Plotly's script from the page and says when it is there.

const plotlyReady = (async () => {
  const packed = atob(document.getElementById("plotly-packed").textContent.trim());
  const unpacking = new DecompressionStream("gzip");
  const writer = unpacking.writable.getWriter();
  writer.write(Uint8Array.from(packed, (letter) => letter.charCodeAt(0)));
  writer.close();
  const script = document.createElement("script");
  script.textContent = await new Response(unpacking.readable).text();
  document.head.append(script);
})();
