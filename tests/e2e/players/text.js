// Plays one presentation with one of its texts in the page that loads it, and reports which cues
// there are, and the pictures (by their numbers, as player.js reads them) with which the text on
// screen changes.

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));


function attachHls(video, { url, language }, report) {
    const hls = new Hls({ enableWorker: false });
    hls.on(Hls.Events.ERROR, (_, { details, error = "" }) => {
        // Choosing another text ends what is being loaded of the one before.
        if (details !== "aborted") {
            report.errors.push(`${details} ${error}`);
        }
    });
    hls.on(Hls.Events.SUBTITLE_TRACKS_UPDATED, () => {
        report.tracks = hls.subtitleTracks.map(({ lang, name, forced }) => ({ lang, name, forced }));
    });
    hls.loadSource(url);
    hls.attachMedia(video);
    return () => {
        hls.subtitleTrack = report.tracks.findIndex((track) => track.lang === language);
    };
}


function attachDash(video, { url, language, codec }, report) {
    const player = dashjs.MediaPlayer().create();
    const events = dashjs.MediaPlayer.events;
    player.updateSettings({
        debug: { logLevel: 0 },
        streaming: {
            utcSynchronization: { enabled: false, useManifestDateHeaderTimeSource: false },
            text: { defaultEnabled: true },
        },
    });
    for (const name of ["ERROR", "PLAYBACK_ERROR"]) {
        player.on(events[name], ({ error = {} }) => report.errors.push(`${name} ${error.message}`));
    }
    player.on(events.TEXT_TRACKS_ADDED, ({ tracks }) => {
        report.tracks = tracks.map(({ lang, codec, roles }) => ({ lang, codec, roles }));
    });
    player.initialize(video, url, false);
    player.attachTTMLRenderingDiv(document.querySelector("#ttml"));
    return () => player.setTextTrack(report.tracks.findIndex(
        (track) => track.lang === language && track.codec.includes(codec),
    ));
}


function textOf(cue) {
    if (cue.isd) {
        const words = (element) => [element.text ?? "", ...(element.contents ?? []).map(words)].join("");
        return words(cue.isd).trim();
    }
    return cue.text;
}


async function until(condition, what, report, timeout = 20000) {
    const end = performance.now() + timeout;
    while (!condition()) {
        if (performance.now() > end) {
            throw new Error(`timed out: ${what}; ${JSON.stringify(report)}`);
        }
        await wait(10);
    }
}


window.run = async (job) => {
    const video = document.querySelector("video");
    const report = { errors: [], tracks: [], cues: [], shown: [], ended: false };
    video.addEventListener("ended", () => { report.ended = true; });
    const select = (job.player === "hls" ? attachHls : attachDash)(video, job, report);
    const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const tracks = () => [...video.textTracks].filter((track) => track.mode === "showing");
    const all = (name) => tracks().flatMap((track) => [...(track[name] ?? [])]);
    await until(() => video.readyState >= 3 && report.tracks.length > 0, "first frame", report);
    select();
    // Without the text chosen, its first cue might be over before it is there.
    await wait(500);
    video.playbackRate = 2;
    await video.play();
    let before = "";
    await until(() => {
        const now = all("activeCues").map(textOf).join(" | ");
        if (now !== before) {
            report.shown.push([barcode(video, context), now]);
            before = now;
        }
        return report.ended;
    }, "end", report);
    report.cues = all("cues").map((cue) => [cue.startTime, cue.endTime, textOf(cue)]);
    return report;
};
