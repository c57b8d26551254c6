// Plays one presentation with one of its texts in the page that loads it, and reports which cues
// there are, the order in which they come up while it plays, and what is shown with the pictures of
// given times (pictures by their numbers, as player.js reads them).


const START_SECONDS = 0.2;


function attachHls(video, { url, language }, report) {
    const hls = new Hls({ enableWorker: false });
    hls.on(Hls.Events.ERROR, (_, { details, error = "" }) => {
        // A loaded machine may be late. Of holes hls.js has other words.
        if (details === "bufferStalledError" && `${error}`.includes("low buffer")) {
            return;
        }
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
            // All cues at once, not those around the current time.
            buffer: { bufferToKeep: 1000, bufferPruningInterval: 1000 },
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


// looks: [[time, whether there is text]], seconds. count: how many cues there are.
window.run = async (job) => {
    await load(job.player);
    const video = document.querySelector("video");
    const report = { errors: [], tracks: [], cues: [], entered: [], shown: [], ended: false };
    const select = (job.player === "hls" ? attachHls : attachDash)(video, job, report);
    const context = canvasFor();
    const tracks = () => [...video.textTracks].filter((track) => track.mode === "showing");
    const all = (name) => tracks().flatMap((track) => [...(track[name] ?? [])]);
    await until(() => video.readyState >= 3 && report.tracks.length > 0, "first frame", report);
    select();
    const playThrough = async (rate) => {
        video.playbackRate = rate;
        await video.play();
        await playOut(video, report);
    };
    // The first time a cue may be over before it is there. All of them are known after a seek.
    await playThrough(2);
    video.playbackRate = 1;
    await still(video, context, START_SECONDS, report);
    await until(() => all("cues").length >= job.count, "all cues", report);
    const entered = [];
    for (const cue of all("cues")) {
        cue.addEventListener("enter", () => entered.push(textOf(cue)));
    }
    await playThrough(4);
    report.entered = [...entered];
    report.cues = all("cues").map((cue) => [cue.startTime, cue.endTime, textOf(cue)]);
    const text = () => all("activeCues").map(textOf).join(" | ");
    for (const [time, isText] of job.looks) {
        const [, number] = await still(video, context, time, report);
        await until(() => (text() !== "") === isText, `text at ${time}: ${isText}`, report);
        report.shown.push([time, number, text()]);
    }
    return report;
};
