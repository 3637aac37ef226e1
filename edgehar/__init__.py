"""edgehar: wearable-sensor recordings in, a verified real-time activity recogniser out.

The way of the data::

    Recording -cut-> Windows -fit-> (Model) -export-> Artifact -build-> Engine -open-> Session -Stream-> Decision
                                                                            \\-- bench -> Run{Measurement} -> report

The house (imports go strictly down; a plural folder is an open room, a singular
module is finished machinery; modules marked (torch) are the host wing, the rest is
the device wing and runs on Python 3.8 without torch)::

    roof    cli/          one command, one file
    floor 6 study         corpora x networks x folds -> Runs            (torch)
            rehearsal     a crowd of wearers, to see what this machine serves
    floor 5 bench         engine x scenario -> Run
            service       one wearer's stream, kept up: reloaded, watched, killed
            fleet         many wearers: micro-batches, incremental steps
            packing       artifact, Runs, streaming settings -> bundle
            export        trained model -> Artifact                     (torch)
            cells         a study file -> a network, seed and fold each (torch)
    floor 4 stream        samples in, decisions out
            training      one loop for teachers and students            (torch)
            report        Runs -> one HTML page
            markdown      Runs -> tables for a README
            microbatches  whole windows or incremental steps, and the choice between them
            filling       what stands in for a sensor that says nothing
            ensembles     several engines asked as one
            modalities    what each sensor is worth: choices of them, ranked
            metering      idle, load, idle under a meter -> power trace
            installation  bundles on a device: switched at once, and back
    floor 3 backends/     Artifact -> Engine -> Session: ort, sim, trt
            sources/      where samples come from: csv, mqtt, replay
            meters/       power of rails: ina3221, jtop, rapl, replay, sim, ...
            views         fixed views, and what a teacher says of them  (torch)
            distillers/   one file a method: none, kd, smldist, ...     (torch)
            saliency      where in a window a network finds a class   (torch)
            plots         rows as pictures
            fitting       parameters of the cost model from measurements
            contrasts     one method against another, over the same people
    floor 2 datasets/     one file a corpus
            models/       one file a network family                     (torch)
            sinks/        where decisions go
            augment       one augmented view for teacher and student    (torch)
            protocols     how the people of a corpus are divided
            cost          time and energy of a graph on a board that is not there
            quantise      activation ranges, and graphs with INT8 convolutions
            steps         incremental inference: a graph of the newest hop and a state
            tables        Runs -> rows, as a terminal, a page or Markdown shows them
            energy        power trace -> joules a window, or a refusal
            bundle        an artifact and all that is known of it in one signed file
    floor 1 registry      open rooms: plug-ins found by file name
            artifact      an exported model that can be checked
            graph         what an ONNX graph may hold for TensorRT 8.5
            kernels       what a runtime launches for an ONNX graph, after fusion
            downloads     files of corpora, fetched whole and checked
            signing       Ed25519 keys: who made a bundle, and whom a device trusts
            mqtt          a connection to a broker that may go and come back
            splits        who is trained on, who is tested on
            scoring       metrics over classes, people and events
            scenarios     what is asked of an engine
            results       numbers kept raw
            histories     how a training went, epoch by epoch
            heads         from an embedding to logits, competing      (torch)
            attribution   what a network looked at, kept for the report
            machine       where they were measured
            places        what each place of a fleet remembers: clock, label, what waits
            conditions    clocks, mode, temperatures and throttling of this moment
    floor 0 errors        one sentence and an exit code
            signals       Channel, Recording, Windows, Decision
            files         written whole or not at all
            settings      what a table that people write may hold
            notify        what systemd is told
            health        how a service fares, counted and shown over HTTP
            sysfs         small files in which the system speaks of itself
            ring          the newest samples of many streams, any window one slice
            resampling    samples of any times on an even grid
"""

__version__ = "0.1.0"
