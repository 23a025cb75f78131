"use strict";
(async () => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const image = (picture, version) => at(`picture-${picture}-${version}`);
  const view = { picture: 0, x: 0, y: 0, zoom: 5 };
  const SHOWN = 240;

  const pixels = new Map();
  const pixelsOf = (picture, version) => {
    const key = `${picture}-${version}`;
    if (!pixels.has(key)) {
      const source = image(picture, version);
      const canvas = new OffscreenCanvas(source.naturalWidth, source.naturalHeight);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(source, 0, 0);
      pixels.set(key, context.getImageData(0, 0, canvas.width, canvas.height));
    }
    return pixels.get(key);
  };
  const luminance = (values, i) => (65.481 * values[i] + 128.553 * values[i + 1] + 24.966 * values[i + 2]) / 255;

  const part = () => {
    const { naturalWidth: width, naturalHeight: height } = image(view.picture, 0);
    const side = Math.min(Math.round(SHOWN / view.zoom), width, height);
    const inside = (centre, size) => Math.min(Math.max(Math.round(centre - side / 2), 0), size - side);
    return { left: inside(view.x, width), top: inside(view.y, height), side };
  };

  const psnr = (version, box) => {
    const found = pixelsOf(view.picture, version), truth = pixelsOf(view.picture, data.truth);
    let sum = 0;
    for (let y = box.top; y < box.top + box.side; y++) {
      for (let x = box.left; x < box.left + box.side; x++) {
        const i = 4 * (y * found.width + x);
        sum += (luminance(found.data, i) - luminance(truth.data, i)) ** 2;
      }
    }
    return sum === 0 ? Infinity : 10 * Math.log10((255 ** 2 * box.side ** 2) / sum);
  };

  const drawCrops = () => {
    const box = part(), name = data.pictures[view.picture].name;
    document.querySelectorAll(".crop").forEach((button) => {
      const version = Number(button.dataset.version), canvas = button.querySelector("canvas");
      const context = canvas.getContext("2d"), found = psnr(version, box);
      context.imageSmoothingEnabled = false;
      context.drawImage(image(view.picture, version), box.left, box.top, box.side, box.side, 0, 0, SHOWN, SHOWN);
      const text = version === data.truth ? "" : Number.isFinite(found) ? `${found.toFixed(2)} dB` : "equal";
      button.parentElement.querySelector(".psnr").textContent = text;
      canvas.setAttribute("aria-label", `${name}, ${data.labels[version]}, part at ${box.left}, ${box.top} ${text}`);
    });
    drawOverview(box);
  };

  const drawOverview = (box) => {
    const source = image(view.picture, data.truth), canvas = at("overview"), context = canvas.getContext("2d");
    canvas.width = source.naturalWidth;
    canvas.height = source.naturalHeight;
    context.drawImage(source, 0, 0);
    const line = Math.max(2, source.naturalHeight / 130);
    for (const [colour, width] of [["#000000", 2 * line], ["#ffffff", line]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.strokeRect(box.left, box.top, box.side, box.side);
    }
    const name = data.pictures[view.picture].name;
    canvas.setAttribute("aria-label", `Overview of ${name}; the crops show a square of ${box.side} pixels at ${box.left}, ${box.top}`);
  };

  const goTo = (x, y) => {
    view.x = x;
    view.y = y;
    drawCrops();
  };
  const goToBox = (number) => {
    const box = data.pictures[view.picture].boxes[number];
    goTo(box.left + box.side / 2, box.top + box.side / 2);
    [...at("places").children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === number)));
  };

  const choosePicture = (number) => {
    view.picture = number;
    at("places").replaceChildren(...data.pictures[number].boxes.map((_, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = String(i + 1);
      button.setAttribute("aria-label", `Place ${i + 1}`);
      button.addEventListener("click", () => goToBox(i));
      return button;
    }));
    goToBox(0);
    drawTwo();
  };

  const drawTwo = () => {
    for (const side of ["left", "right"]) {
      const version = Number(at(side).value), shown = at(`two-${side}`);
      shown.src = image(view.picture, version).src;
      shown.alt = image(view.picture, version).alt;
    }
    const { naturalWidth } = image(view.picture, 0);
    at("two").style.width = `${naturalWidth * Math.max(1, Math.floor(640 / naturalWidth))}px`;
    moveBorder();
    drawDifference();
  };
  const moveBorder = () => {
    const place = Number(at("border").value);
    at("two-left").style.clipPath = `inset(0 ${100 - place}% 0 0)`;
    at("two-line").style.left = `${place}%`;
  };

  const colour = (share) => [Math.min(1, 2 * share), Math.min(1, Math.max(0, 2 * share - 0.6)), Math.max(0, 3 * share - 2)].map((c) => 255 * c);
  const drawDifference = () => {
    const [a, b] = ["left", "right"].map((side) => pixelsOf(view.picture, Number(at(side).value)));
    const canvas = at("difference-canvas"), shown = new ImageData(a.width, a.height);
    const differences = new Uint8Array(a.width * a.height);
    for (let i = 0; i < differences.length; i++) {
      for (let c = 0; c < 3; c++) {
        differences[i] = Math.max(differences[i], Math.abs(a.data[4 * i + c] - b.data[4 * i + c]));
      }
    }
    const largest = differences.reduce((most, value) => Math.max(most, value), 0);
    const most = [4, 8, 16, 32, 64, 128, 255].find((value) => value >= largest);
    for (let i = 0; i < differences.length; i++) {
      shown.data.set([...colour(differences[i] / most), 255], 4 * i);
    }
    canvas.width = a.width;
    canvas.height = a.height;
    canvas.getContext("2d").putImageData(shown, 0, 0);
    const names = ["left", "right"].map((side) => data.labels[Number(at(side).value)]);
    canvas.setAttribute("aria-label", `Difference of ${names.join(" and ")} in ${data.pictures[view.picture].name}; largest: ${largest} levels`);
    at("scale-most").textContent = `${most} levels; largest difference here: ${largest}`;
  };
  const drawScale = () => {
    const context = at("scale-canvas").getContext("2d");
    for (let i = 0; i < 256; i++) {
      context.fillStyle = `rgb(${colour(i / 255).join(",")})`;
      context.fillRect(i, 0, 1, 12);
    }
  };

  const showWhole = (version) => {
    const source = image(view.picture, version);
    at("whole-title").textContent = source.alt;
    at("whole-picture").src = source.src;
    at("whole-picture").alt = source.alt;
    at("whole").showModal();
  };

  await Promise.all([...document.querySelectorAll(".gallery img")].map((shown) => shown.decode()));
  at("picture").addEventListener("change", (event) => choosePicture(Number(event.target.value)));
  at("zoom").addEventListener("input", (event) => {
    view.zoom = Number(event.target.value);
    at("zoom-value").textContent = event.target.value;
    drawCrops();
  });
  at("border").addEventListener("input", moveBorder);
  ["left", "right"].forEach((side) => at(side).addEventListener("change", drawTwo));
  document.querySelectorAll(".crop").forEach((button) => button.addEventListener("click", () => showWhole(Number(button.dataset.version))));
  at("overview").addEventListener("click", (event) => {
    const factor = event.target.width / event.target.clientWidth;
    goTo(event.offsetX * factor, event.offsetY * factor);
  });
  at("overview").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-8, 0], ArrowRight: [8, 0], ArrowUp: [0, -8], ArrowDown: [0, 8] }[event.key];
    if (step) {
      event.preventDefault();
      const box = part();
      goTo(box.left + box.side / 2 + step[0], box.top + box.side / 2 + step[1]);
    }
  });
  at("right").value = String(data.labels.length - 1);
  at("left").value = String(data.truth);
  drawScale();
  choosePicture(0);
  document.documentElement.dataset.ready = "yes";
})();
