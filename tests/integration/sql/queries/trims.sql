-- Characters off the ends, and fillers on them.
CREATE TABLE trims (a VARCHAR, b VARCHAR, c VARCHAR, d VARCHAR, e VARCHAR, f VARCHAR, g VARCHAR) WITH (${sink});

INSERT INTO trims
SELECT ltrim(channel, 'aGo'), rtrim(channel, 'kel'), btrim(channel, 'ek'), rpad(channel, 9, '-'),
    repeat(channel, 2), left(channel, 3), right(channel, 4)
FROM bid WHERE price > 1500;
