// Style templates: words put around the prompt, for models that know them (those trained on captions of many styles).

const TEMPLATES = {
  Cinematic: "cinematic still, dramatic light, shallow depth of field, film grain, highly detailed",
  "3-D model": "3d render, soft studio light, smooth materials, octane render, highly detailed",
  Anime: "anime artwork, clean lines, cel shading, vibrant colours, studio anime, highly detailed",
  "Digital art": "concept art, digital artwork, illustrative, painterly, matte painting, highly detailed",
  Photographic: "cinematic photo, 35mm photograph, bokeh, natural light, sharp focus, highly detailed",
  "Pixel art": "pixel art, low resolution, blocky, 8-bit graphics, limited palette",
  "Fantasy art": "ethereal fantasy concept art, magnificent, celestial, magical, epic, dreamy",
  Neonpunk: "neonpunk style, cyberpunk, vaporwave, neon lights, glowing magenta and cyan, dark city",
  Manga: "manga page, black ink, screentone, expressive lines, dramatic composition",
  Watercolour: "watercolour painting, loose brushwork, paper texture, soft washes of colour",
  "Line art": "line art drawing, elegant clean lines, minimal, white background",
  Origami: "origami style, folded paper, pleats, soft shadows, paper craft",
};

/** The chosen template of a `<select>`: "{prompt}, words of the style"; none at first. */
export class Template {
  constructor(select) {
    this.select = select;
    select.replaceChildren(new Option("None: the prompt alone", ""));
    for (const [name, words] of Object.entries(TEMPLATES)) {
      const option = new Option(name, words);
      option.title = words;
      select.append(option);
    }
  }

  /** The prompt that the model gets. */
  wrap(prompt) {
    return [prompt.trim() || null, this.select.value || null].filter(Boolean).join(", ");
  }

  /** The prompt that a person wrote. One that doesn't carry the template came from elsewhere: no template then. */
  unwrap(prompt) {
    const words = this.select.value;
    if (!words) return prompt;
    if (prompt === words) return "";
    if (prompt.endsWith(`, ${words}`)) return prompt.slice(0, -words.length - 2);
    this.select.value = "";
    return prompt;
  }
}
